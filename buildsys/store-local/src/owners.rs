//! Whose owners an unpacked layer shows.
//!
//! In a user namespace the kernel shows the ids of files through a map (user_namespaces(7)): a folder unpacked
//! under one map is another layer under the next. So snapshots are kept apart by map; blobs, which hold ids as
//! numbers, are not.

use std::path::Path;

use tbuild_digest::Sha256;

/// Inode of the first user namespace (Linux: `PROC_USER_INIT_INO`).
const FIRST: u64 = 0xEFFF_FFFD;

/// Whether this process is in a user namespace other than the machine's first.
pub fn is_mapped() -> bool {
    rustix::fs::stat("/proc/self/ns/user").is_ok_and(|stat| stat.st_ino != FIRST)
}

/// The name of the folder of snapshots: one for the machine's own ids, one for each map of others.
pub fn snapshots_name() -> String {
    if !is_mapped() {
        return "snapshots".to_owned();
    }
    let read = |file: &str| std::fs::read(Path::new("/proc/self").join(file)).unwrap_or_default();
    let maps = [read("uid_map"), read("gid_map")].concat();
    format!("snapshots-{}", &Sha256::of(&maps).hex()[..16])
}

/// Where overlayfs keeps its mark of an opaque folder (Linux kernel, Documentation/filesystems/overlayfs.rst,
/// "User xattr"): in a user namespace among the attributes that a user may set.
pub fn opaque_mark() -> &'static std::ffi::CStr {
    if is_mapped() {
        c"user.overlay.opaque"
    } else {
        c"trusted.overlay.opaque"
    }
}
