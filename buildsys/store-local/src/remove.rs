//! Removing a folder, whatever is in it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use tbuild_store::StoreError;

use crate::io::fail;

/// Removes `path` and all that is in it, of any type and with any permission bits (overlayfs leaves folders
/// of mode 000). Links are removed, never followed. What is not there counts as removed.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fail("remove", path, Errno::INVAL));
    };
    let parent = match File::open(parent) {
        Ok(parent) => parent,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(fail("remove", path, source)),
    };
    let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
    remove_at(parent.as_fd(), name).map_err(|errno| fail("remove", path, errno))
}

/// A folder being emptied.
struct Level {
    /// Closed while removing is [`OPEN`] levels deeper.
    folder: Option<OwnedFd>,
    /// Device and inode: what is reached from below has to be this.
    id: (u64, u64),
    name: Vec<u8>,
    folders: Vec<Vec<u8>>,
}

/// How many folders are kept open at once: a process may have some 1,024 files.
const OPEN: usize = 64;

impl Level {
    /// The folder, opened again from the one below it where it was closed.
    fn reopen(&mut self, below: &OwnedFd) -> Result<(), Errno> {
        if self.folder.is_some() {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(below, c"..", flags, Mode::empty())?;
        // Somebody moved what is being removed: what lies above it now is none of it.
        if id(&folder)? != self.id {
            return Err(Errno::STALE);
        }
        self.folder = Some(folder);
        Ok(())
    }
}

fn id(folder: &OwnedFd) -> Result<(u64, u64), Errno> {
    let stat = rustix::fs::fstat(folder)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Depth first on a list, not on the stack: how deep the folders go is not ours to choose.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let Some(first) = enter(parent, name)? else {
        return Ok(());
    };
    let mut levels = vec![first];
    while let Some(level) = levels.last_mut() {
        let Some(folder) = &level.folder else {
            return Err(Errno::BADF);
        };
        if let Some(name) = level.folders.pop() {
            if let Some(next) = enter(folder.as_fd(), &name)? {
                levels.push(next);
                if let Some(far) = levels.len().checked_sub(OPEN) {
                    levels[far].folder = None;
                }
            }
            continue;
        }
        let Some(done) = levels.pop() else { break };
        if let (Some(above), Some(below)) = (levels.last_mut(), &done.folder) {
            above.reopen(below)?;
        }
        let above = levels.last().and_then(|level| level.folder.as_ref());
        let above = above.map_or(parent, |folder| folder.as_fd());
        match rustix::fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Opens a folder and removes all in it that is no folder; none if it is gone.
fn enter(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Level>, Errno> {
    let Some(folder) = open_folder(parent, name)? else {
        return Ok(None);
    };
    let mut folders = Vec::new();
    let mut writable = false;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let child = entry.file_name();
        if matches!(child.to_bytes(), b"." | b"..") {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            folders.push(child.to_bytes().to_vec());
            continue;
        }
        let mut result = rustix::fs::unlinkat(&folder, child, AtFlags::empty());
        if result == Err(Errno::ACCESS) && !writable {
            rustix::fs::fchmod(&folder, Mode::RWXU)?;
            writable = true;
            result = rustix::fs::unlinkat(&folder, child, AtFlags::empty());
        }
        match result {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => folders.push(child.to_bytes().to_vec()),
            Err(errno) => return Err(errno),
        }
    }
    if !folders.is_empty() && !writable {
        // Removing them writes to this folder. Of no effect for root; a failure shows up there.
        let _ = rustix::fs::fchmod(&folder, Mode::RWXU);
    }
    Ok(Some(Level {
        id: id(&folder)?,
        folder: Some(folder),
        name: name.to_vec(),
        folders,
    }))
}

fn open_folder(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    if opened.as_ref().err() == Some(&Errno::ACCESS) {
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
        opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    }
    match opened {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
