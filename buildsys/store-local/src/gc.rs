//! What takes space, and making room.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tbuild_digest::{ActionKey, BlobDigest, DiffId, Sha256};
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

/// How many entries a collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Blobs.
    pub blobs: u64,
    /// Action results.
    pub actions: u64,
    /// Snapshots.
    pub snapshots: u64,
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

    /// Removes every action result, snapshot and blob that is not named, in this order: a result never names
    /// what is gone, whenever this stops. The caller holds a lock that keeps builds from adding what only
    /// they know of.
    pub fn remove_unreferenced(
        &self,
        keep_blobs: &BTreeSet<BlobDigest>,
        keep_actions: &BTreeSet<ActionKey>,
        keep_snapshots: &BTreeSet<DiffId>,
    ) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        let actions = self.layout().path("actions");
        for shard in io::names(&actions)? {
            let shard = actions.join(shard);
            for name in io::names(&shard)? {
                if digest_of(&name).is_none_or(|digest| !keep_actions.contains(&ActionKey(digest)))
                {
                    removed.actions += u64::from(io::remove_file(&shard.join(name))?);
                }
            }
        }
        let snapshots = self.layout().snapshots();
        for name in io::names(snapshots)? {
            if digest_of(&name).is_none_or(|digest| !keep_snapshots.contains(&DiffId(digest))) {
                self.remove_snapshot(&snapshots.join(name))?;
                removed.snapshots += 1;
            }
        }
        let blobs = self.layout().path("blobs/sha256");
        for name in io::names(&blobs)? {
            if digest_of(&name).is_none_or(|digest| !keep_blobs.contains(&BlobDigest(digest))) {
                removed.blobs += u64::from(io::remove_file(&blobs.join(name))?);
            }
        }
        let quarantine = self.layout().path("quarantine");
        for name in io::names(&quarantine)? {
            io::remove_file(&quarantine.join(name))?;
        }
        Ok(removed)
    }

    /// Out of sight first: a snapshot half removed must not be taken for one.
    pub(crate) fn remove_snapshot(&self, path: &Path) -> Result<(), StoreError> {
        let doomed = self.session()?.fresh_stage("doomed");
        io::rename(path, &doomed)?;
        remove_tree(&doomed)
    }
}

fn digest_of(name: &OsString) -> Option<Sha256> {
    Sha256::from_hex(name.to_str()?).ok()
}

/// The bytes that `folder` and all below it take; files with several names count once a name. What goes away
/// meanwhile counts as nothing.
fn folder_size(folder: &Path) -> Result<u64, StoreError> {
    const BLOCK: u64 = 512;
    let mut total = 0;
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        for name in io::names(&folder)? {
            let path = folder.join(name);
            match std::fs::symlink_metadata(&path) {
                Ok(metadata) => {
                    total += metadata.blocks() * BLOCK;
                    if metadata.is_dir() {
                        todo.push(path);
                    }
                }
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(source) => return Err(io::fail("inspect", &path, source)),
            }
        }
    }
    Ok(total)
}
