//! The store: whether it can be used, what it lies on, how much room there is.

use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};
use tbuild_store::{Store as _, StoreError};
use tbuild_store_local::LocalStore;

use super::Finding;
use crate::report::bytes;

const CHECK: &str = "store";
/// Less room than this is worth a word: a base and a few layers.
const ROOM: u64 = 5_000_000_000;

/// File systems by the number that statfs(2) gives them.
const NAMES: &[(u64, &str)] = &[
    (0xEF53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683E, "btrfs"),
    (0x0102_1994, "tmpfs"),
    (0x794C_7630, "overlayfs"),
    (0x2FC1_2FC1, "zfs"),
    (0x6969, "nfs"),
    (0xFF53_4D42, "cifs"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
];

/// Opens the store at `path` and writes to it; the store, if that went well, and what was found.
pub fn check(path: &Path) -> (Option<LocalStore>, Vec<Finding>) {
    let store = LocalStore::open(path).and_then(|store| {
        let bytes = format!("tbuild doctor {}", std::process::id());
        store.set_reference("doctor", "trial", Some(bytes.as_bytes()))?;
        store.set_reference("doctor", "trial", None)?;
        Ok(store)
    });
    let store = match store {
        Ok(store) => store,
        Err(error) => {
            let remedy = match error {
                StoreError::Format { .. } => "name another folder with --store or TBUILD_STORE",
                _ => "make it writable, or name another folder with --store or TBUILD_STORE",
            };
            let text = crate::error::chain(&error);
            return (None, vec![Finding::missing(CHECK, text, remedy)]);
        }
    };
    let mut findings = vec![Finding::ok(CHECK, format!("{}, writable", path.display()))];
    findings.extend(file_system(path));
    (Some(store), findings)
}

fn file_system(path: &Path) -> Vec<Finding> {
    let (Ok(system), Ok(mount)) = (statfs(path), statvfs(path)) else {
        return Vec::new();
    };
    let kind = system.f_type as u64;
    let name = NAMES
        .iter()
        .find(|(number, _)| *number == kind)
        .map(|(_, name)| *name);
    let options: Vec<&str> = [
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOSUID, "nosuid"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
    ]
    .into_iter()
    .filter_map(|(flag, name)| mount.f_flag.contains(flag).then_some(name))
    .collect();
    let mut text = name.map_or_else(|| format!("type {kind:#x}"), str::to_owned);
    if !options.is_empty() {
        text = format!("{text}, mounted {}", options.join(","));
    }
    let room = mount.f_bavail * mount.f_frsize;
    let free = format!("{} free", bytes(room));
    vec![
        match name {
            Some("overlayfs" | "nfs") => {
                Finding::warn("file system", text, crate::engine::ON_A_VOLUME)
            }
            Some("cifs" | "9p" | "fuse") => Finding::warn(
                "file system",
                text,
                "steps write through overlayfs, which such file systems may refuse: see the check of steps",
            ),
            _ => Finding::ok("file system", text),
        },
        if room < ROOM {
            Finding::warn(
                "room",
                free,
                "a store of another folder (--store), or less in this one",
            )
        } else {
            Finding::ok("room", free)
        },
    ]
}
