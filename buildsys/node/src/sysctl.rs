//! Kernel settings: those that kubelet changes for the whole host, and those of the node's own network.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::NodeError;

/// What kubelet writes into the host's kernel, whichever namespace it runs in, and nothing takes back.
const KUBELET: [&str; 5] = [
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

/// The values before kubelet runs.
pub(crate) fn save() -> Result<BTreeMap<String, String>, NodeError> {
    KUBELET
        .iter()
        .map(|name| {
            let path = path(name);
            let value = fs::read_to_string(&path).map_err(NodeError::io("read", &path))?;
            Ok(((*name).to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// Writes back what differs.
pub(crate) fn restore(saved: &BTreeMap<String, String>) -> Result<(), NodeError> {
    for (name, value) in saved {
        let path = path(name);
        let now = fs::read_to_string(&path).map_err(NodeError::io("read", &path))?;
        if now.trim() != value {
            write(name, value)?;
        }
    }
    Ok(())
}

/// Sets one; a name under `net/` is the calling thread's network namespace's.
pub(crate) fn write(name: &str, value: &str) -> Result<(), NodeError> {
    let path = path(name);
    fs::write(&path, value).map_err(NodeError::io("write", &path))
}

/// Whether this kernel has the setting.
pub(crate) fn exists(name: &str) -> bool {
    path(name).exists()
}
