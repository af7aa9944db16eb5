//! Building layers as folders, and keeping them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use tbuild_store::{Staging, StoreError};

use crate::session::Session;
use crate::{io, remove_tree};

/// A layer being built in the session's folder.
#[derive(Debug)]
pub struct LocalStaging {
    folder: PathBuf,
    upper: PathBuf,
    work: PathBuf,
    // Keeps the folder locked.
    _session: Arc<Session>,
}

impl LocalStaging {
    /// Makes the folders.
    pub fn create(session: Arc<Session>) -> Result<Self, StoreError> {
        let folder = session.fresh_stage("stage");
        io::make_folder(&folder, 0o700)?;
        let staging = Self {
            upper: folder.join("upper"),
            work: folder.join("work"),
            folder,
            _session: session,
        };
        io::make_folder(&staging.upper, 0o755)?;
        io::make_folder(&staging.work, 0o700)?;
        // The umask must not decide the mode of an image's root.
        rustix::fs::chmod(&staging.upper, 0o755.into())
            .map_err(|errno| io::fail("set the mode of", &staging.upper, errno))?;
        Ok(staging)
    }
}

impl Staging for LocalStaging {
    fn upper(&self) -> &Path {
        &self.upper
    }

    fn work(&self) -> &Path {
        &self.work
    }
}

impl Drop for LocalStaging {
    fn drop(&mut self) {
        // What stays goes with the session.
        let _ = remove_tree(&self.folder);
    }
}

/// Moves `upper` to `target` unless something is there already; says whether it moved.
pub fn place(upper: &Path, target: &Path) -> Result<bool, StoreError> {
    match rustix::fs::renameat_with(CWD, upper, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
        // A file system without the flag: a plain rename fails too where a folder with content is there.
        Err(Errno::INVAL) => match std::fs::rename(upper, target) {
            Ok(()) => Ok(true),
            Err(_) if target.is_dir() => Ok(false),
            Err(source) => Err(moving(upper, target, source)),
        },
        Err(errno) => Err(moving(upper, target, errno.into())),
    }
}

fn moving(from: &Path, to: &Path, source: std::io::Error) -> StoreError {
    StoreError::io(
        format!("rename {} to {}", from.display(), to.display()),
        source,
    )
}
