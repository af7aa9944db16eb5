//! A file system in memory that this process alone sees.

use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

/// Mounts an empty tmpfs on `folder`, in a mount namespace of this process's own: it goes with the last process that
/// was started from here. To be called while the process has one thread, and with the right to mount.
pub fn mount_memory(folder: &Path) -> io::Result<()> {
    crate::fork::unshare(UnshareFlags::NEWNS)?;
    // What the machine mounts later is still seen here; what is mounted here is not seen there.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    mount(
        "tbuild",
        folder,
        "tmpfs",
        MountFlags::empty(),
        Some(c"mode=0700"),
    )?;
    Ok(())
}
