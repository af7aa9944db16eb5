//! The folder in `tmp/` that a live process writes into.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tbuild_store::StoreError;

use crate::{io, layout, remove_tree};

/// A folder that is this process's own. Its lock belongs to the open file, so it ends with the process
/// however that ends; whoever starts a session later removes the folders that nobody locks.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    /// Where layers are written: the same, unless they are unpacked in memory.
    stages: PathBuf,
    _lock: File,
    next: AtomicU64,
}

impl Session {
    /// Starts a session below `tmp`, and clears away what dead processes left there. Layers are written below
    /// `stages`: `tmp`, or a folder of this process's own.
    pub fn start(tmp: &Path, stages: &Path) -> Result<Self, StoreError> {
        let mut session = loop {
            let name = format!("{}-{:016x}", std::process::id(), layout::rand_u64()?);
            if let Some(session) = Self::claim(tmp.join(name))? {
                break session;
            }
        };
        if let Some(name) = session.folder.file_name().filter(|_| stages != tmp) {
            session.stages = stages.join(name);
            io::make_folder(&session.stages, 0o700)?;
        }
        sweep(tmp, &session.folder)?;
        Ok(session)
    }

    /// Makes and locks `folder`; none if a sweeper was in between.
    fn claim(folder: PathBuf) -> Result<Option<Self>, StoreError> {
        io::make_folder(&folder, 0o700)?;
        let Some(lock) = io::open(&folder)? else {
            return Ok(None);
        };
        lock.lock()
            .map_err(|source| io::fail("lock", &folder, source))?;
        let same = match (fs::metadata(&folder), lock.metadata()) {
            (Ok(named), Ok(held)) => named.ino() == held.ino() && named.dev() == held.dev(),
            _ => false,
        };
        Ok(same.then(|| Self {
            stages: folder.clone(),
            folder,
            _lock: lock,
            next: AtomicU64::new(0),
        }))
    }

    /// A path in the session's folder where nothing is.
    pub fn fresh(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{kind}{number}"))
    }

    /// The same on the file system of the snapshots.
    pub fn fresh_stage(&self, kind: &str) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.stages.join(format!("{kind}{number}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What fails to go now goes with the next sweep: the lock ends here.
        let _ = remove_tree(&self.folder);
        if self.stages != self.folder {
            let _ = remove_tree(&self.stages);
        }
    }
}

/// Removes everything below `tmp` but `own` that no live process holds.
fn sweep(tmp: &Path, own: &Path) -> Result<(), StoreError> {
    for name in io::names(tmp)? {
        let path = tmp.join(name);
        if path == own {
            continue;
        }
        let Some(entry) = io::open(&path)? else {
            continue;
        };
        let is_folder = entry
            .metadata()
            .map_err(|source| io::fail("inspect", &path, source))?
            .is_dir();
        if !is_folder && is_young(&entry) {
            // The layout's own first files are not locked: leave them to the process that is renaming them.
            continue;
        }
        if entry.try_lock().is_ok() {
            // Two sweepers may meet here; what the other one removed is gone all the same.
            match remove_tree(&path) {
                Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(())
}

fn is_young(file: &File) -> bool {
    const MINUTE: u64 = 60;
    file.metadata()
        .and_then(|metadata| metadata.modified())
        .map_or(true, |modified| {
            modified
                .elapsed()
                .map_or(true, |age| age.as_secs() < MINUTE)
        })
}
