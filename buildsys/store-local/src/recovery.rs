//! After the machine has crashed.
//!
//! Blobs and records carry digests, so what a crash damaged is seen when it is read. A snapshot is a folder
//! without one: a file in it may have been left empty. Nothing is synced while layers are built, so the
//! snapshots that may have suffered are taken away at the first use after the machine has started anew; they
//! are unpacked again from their blobs, whose digests are checked then.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tbuild_store::{Store as _, StoreError};

use crate::{LocalStore, io};

/// Tells one run of the machine from the next (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What was written longer than this before the end has reached the disk: the kernel waits 30 seconds
/// (vm.dirty_expire_centisecs) and looks every 5.
const UNWRITTEN: i64 = 120;

impl LocalStore {
    /// Takes away the snapshots that were made right before the machine last went down, unless that has been
    /// done since. A machine that shut down in order loses nothing but the time to unpack them again.
    pub(crate) fn recover(&self) -> Result<(), StoreError> {
        // Without the file there is no telling, and no machine of its own that could have crashed.
        let Some(current) = io::read(Path::new(BOOT_ID))? else {
            return Ok(());
        };
        let recorded = self.layout().boot();
        if io::read(&recorded)?.as_deref() == Some(&current) {
            return Ok(());
        }
        let _lock = self.lock("boot")?;
        if io::read(&recorded)?.as_deref() == Some(&current) {
            return Ok(());
        }
        let folder = self.layout().snapshots();
        let mut snapshots = Vec::new();
        for name in io::names(folder)? {
            let path = folder.join(name);
            let metadata = std::fs::symlink_metadata(&path)
                .map_err(|source| io::fail("inspect", &path, source))?;
            // The time of the rename that made it visible; nobody can set it.
            snapshots.push((metadata.ctime(), path));
        }
        let last = snapshots.iter().map(|(time, _)| *time).max().unwrap_or(0);
        for (_, path) in snapshots
            .iter()
            .filter(|(time, _)| *time >= last - UNWRITTEN)
        {
            self.remove_snapshot(path)?;
        }
        self.replace(&recorded, &current)
    }
}
