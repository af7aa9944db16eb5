//! What a supervisor holds, written down before it takes it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::layout::Layout;
use crate::process::ProcessId;
use crate::{NodeError, NodeSpec};

/// What must be given back when the supervisor is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What was made.
    pub(crate) spec: NodeSpec,
    /// The boot in which: after another one only folders are left.
    pub(crate) boot_id: String,
    /// Who holds it.
    pub(crate) supervisor: ProcessId,
    /// When it began, in seconds since 1970.
    pub(crate) since: u64,
    /// Host-wide settings that kubelet changes, and their values before: names under /proc/sys.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// Folders in the cgroup hierarchies.
    pub(crate) cgroups: Vec<PathBuf>,
}

/// The machine's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The parent of its pid 1.
    pub(crate) launcher: ProcessId,
    /// Its pid 1, by the host's count.
    pub(crate) init: ProcessId,
}

impl State {
    /// The state in the data folder; none when no supervisor was ever there, or all is given back.
    pub(crate) fn load(layout: &Layout) -> Result<Option<Self>, NodeError> {
        read_json(&layout.state())
    }

    /// Writes it durably enough to outlive any process.
    pub(crate) fn save(&self, layout: &Layout) -> Result<(), NodeError> {
        write_json(&layout.state(), self)
    }

    /// Whether it is of this boot.
    pub(crate) fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|id| id == self.boot_id)
    }

    /// Whether its supervisor runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.is_of_this_boot() && self.supervisor.is_alive()
    }
}

/// The kernel's random name of this boot.
pub(crate) fn boot_id() -> Result<String, NodeError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let id = fs::read_to_string(path).map_err(NodeError::io("read", path))?;
    Ok(id.trim().to_owned())
}

/// Reads a JSON file; none when it is not there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, NodeError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| NodeError::State {
                path: path.to_owned(),
                source,
            }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(NodeError::io("read", path)(error)),
    }
}

/// Writes a JSON file whole or not at all.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), NodeError> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|source| NodeError::State {
        path: path.to_owned(),
        source,
    })?;
    write_whole(path, &bytes, 0o644)
}

/// Writes a file whole or not at all, with these permission bits.
pub(crate) fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), NodeError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tbuild-tmp");
    let temporary = PathBuf::from(name);
    // One that a dead process left may have other bits.
    remove_file(&temporary)?;
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(NodeError::io("write", path))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_file(path: &Path) -> Result<(), NodeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(NodeError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
