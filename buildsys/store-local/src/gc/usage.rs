//! What takes space.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tbuild_store::StoreError;

use crate::{LocalStore, io, remove_tree};

/// Bytes on disk by class: blocks that files take, not their lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Blobs.
    pub blobs: u64,
    /// Action results.
    pub actions: u64,
    /// References.
    pub references: u64,
    /// Layers unpacked.
    pub snapshots: u64,
    /// What the scanner knows of the user's folders.
    pub statcache: u64,
    /// Folders that may vanish at any time.
    pub scratch: u64,
    /// What live and dead processes are writing.
    pub tmp: u64,
    /// Corrupt blobs.
    pub quarantine: u64,
}

impl Usage {
    /// All classes together.
    pub fn total(&self) -> u64 {
        self.blobs
            + self.actions
            + self.references
            + self.snapshots
            + self.statcache
            + self.scratch
            + self.tmp
            + self.quarantine
    }
}

impl LocalStore {
    /// Measures the store. Reads every folder of it: seconds on a large store.
    pub fn du(&self) -> Result<Usage, StoreError> {
        let size = |name: &str| folder_size(&self.layout().path(name));
        Ok(Usage {
            blobs: size("blobs")?,
            actions: size("actions")?,
            references: size("refs")?,
            snapshots: folder_size(self.layout().snapshots())?,
            statcache: size("statcache")?,
            scratch: size("scratch")?,
            tmp: size("tmp")?,
            quarantine: size("quarantine")?,
        })
    }

    /// Out of sight first: a snapshot half removed must not be taken for one.
    pub(crate) fn remove_snapshot(&self, path: &Path) -> Result<(), StoreError> {
        let doomed = self.session()?.fresh_stage("doomed");
        io::rename(path, &doomed)?;
        remove_tree(&doomed)
    }
}

/// The bytes that a file or a folder itself takes.
pub(super) fn on_disk(metadata: &Metadata) -> u64 {
    const BLOCK: u64 = 512;
    metadata.blocks() * BLOCK
}

/// The bytes that what is at `path` takes, with all below it; files with several names count once a name. What goes
/// away meanwhile counts as nothing.
pub(super) fn folder_size(path: &Path) -> Result<u64, StoreError> {
    let mut total = 0;
    let mut todo = vec![path.to_owned()];
    while let Some(path) = todo.pop() {
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => {
                total += on_disk(&metadata);
                if metadata.is_dir() {
                    todo.extend(io::names(&path)?.iter().map(|name| path.join(name)));
                }
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(io::fail("inspect", &path, source)),
        }
    }
    Ok(total)
}
