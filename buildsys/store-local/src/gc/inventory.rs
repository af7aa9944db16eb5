//! What is in the store, and when it was used.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tbuild_digest::Sha256;
use tbuild_store::StoreError;

use super::Policy;
use super::usage::{folder_size, on_disk};
use crate::{LocalStore, io, record};

/// References that are larger are tables of ours (indexes of layers), and name nothing.
const LONGEST_REFERENCE: u64 = 64 * 1024;

/// A file of the store, or a folder that is one thing.
#[derive(Debug)]
pub(super) struct Entry {
    pub path: PathBuf,
    /// When it was last used, or written where uses leave no trace.
    pub used: SystemTime,
    /// Bytes on the disk; of folders only where it matters.
    pub bytes: u64,
}

/// A reference, and what its name and its value name.
#[derive(Debug)]
pub(super) struct Reference {
    pub entry: Entry,
    pub is_root: bool,
    pub is_memory: bool,
    pub is_hint: bool,
    pub of: Vec<Sha256>,
    pub names: Vec<Sha256>,
}

/// A layer unpacked, perhaps as what differs from another.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub entry: Entry,
    pub over: Option<Sha256>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub actions: BTreeMap<Sha256, Entry>,
    pub references: Vec<Reference>,
    pub blobs: BTreeMap<Sha256, Entry>,
    pub snapshots: BTreeMap<Sha256, Vec<Snapshot>>,
    pub caches: Vec<Entry>,
}

/// Sizes of folders by path, measured before anybody has to wait for it.
pub(super) type Sizes = BTreeMap<PathBuf, u64>;

impl LocalStore {
    /// The folders of layers unpacked, of every map of owners.
    pub(super) fn snapshot_folders(&self) -> Result<Vec<PathBuf>, StoreError> {
        let own = self.layout().snapshots().to_owned();
        let beside = own.parent().unwrap_or(self.layout().root()).to_owned();
        let mut folders: Vec<PathBuf> = io::names(&beside)?
            .iter()
            .filter_map(|name| name.to_str())
            .filter(|name| *name == "snapshots" || name.starts_with("snapshots-"))
            .map(|name| beside.join(name))
            .collect();
        folders.sort();
        Ok(folders)
    }

    /// The entries of scratch folders that a policy lets go.
    pub(super) fn cache_entries(&self, policy: &Policy<'_>) -> Result<Vec<PathBuf>, StoreError> {
        let mut found = Vec::new();
        for purpose in policy.caches {
            let folder = self.layout().path("scratch").join(purpose);
            found.extend(io::names(&folder)?.iter().map(|name| folder.join(name)));
        }
        let known = self.layout().path("statcache");
        found.extend(io::names(&known)?.iter().map(|name| known.join(name)));
        Ok(found)
    }

    /// Measures what is a folder.
    pub(super) fn folder_sizes(&self, policy: &Policy<'_>) -> Result<Sizes, StoreError> {
        let mut sizes = Sizes::new();
        for folder in self.snapshot_folders()? {
            for name in io::names(&folder)? {
                let path = folder.join(name);
                let size = folder_size(&path)?;
                sizes.insert(path, size);
            }
        }
        for path in self.cache_entries(policy)? {
            let size = folder_size(&path)?;
            sizes.insert(path, size);
        }
        Ok(sizes)
    }

    /// Looks at everything.
    pub(super) fn inventory(
        &self,
        policy: &Policy<'_>,
        sizes: &Sizes,
    ) -> Result<Inventory, StoreError> {
        let mut found = Inventory::default();
        let actions = self.layout().path("actions");
        for shard in io::names(&actions)? {
            files(&actions.join(shard), &mut found.actions)?;
        }
        let blobs = self.layout().path("blobs/sha256");
        files(&blobs, &mut found.blobs)?;
        self.references_into(policy, &mut found)?;
        for folder in self.snapshot_folders()? {
            for name in io::names(&folder)? {
                let path = folder.join(&name);
                let Some(metadata) = look(&path)? else {
                    continue;
                };
                // The folder's own time is that of the layer's root.
                let entry = Entry {
                    used: changed(&metadata),
                    bytes: sizes.get(&path).copied().unwrap_or(0),
                    path,
                };
                let text = name.to_str().unwrap_or_default();
                let (layer, over) = match text.split_once(".over.") {
                    Some((layer, over)) => (layer, Sha256::from_hex(over).ok()),
                    None => (text, None),
                };
                if let Ok(layer) = Sha256::from_hex(layer) {
                    let snapshot = Snapshot { entry, over };
                    found.snapshots.entry(layer).or_default().push(snapshot);
                }
            }
        }
        for path in self.cache_entries(policy)? {
            // A cache that steps share is locked by a file in it, which tells when it was.
            let lock = look(&path.join("lock"))?;
            let Some(metadata) = lock.map_or_else(|| look(&path), |lock| Ok(Some(lock)))? else {
                continue;
            };
            found.caches.push(Entry {
                used: written(&metadata),
                bytes: sizes.get(&path).copied().unwrap_or(0),
                path,
            });
        }
        Ok(found)
    }

    fn references_into(
        &self,
        policy: &Policy<'_>,
        found: &mut Inventory,
    ) -> Result<(), StoreError> {
        let refs = self.layout().path("refs");
        for space in io::names(&refs)? {
            let folder = refs.join(&space);
            let is_in = |spaces: &[&str]| spaces.iter().any(|one| space == **one);
            let (is_root, is_memory) = (is_in(policy.roots), is_in(policy.memories));
            let is_hint = is_in(policy.hints);
            for name in io::names(&folder)? {
                let path = folder.join(name);
                let Some(metadata) = look(&path)? else {
                    continue;
                };
                let entry = Entry {
                    used: written(&metadata),
                    bytes: on_disk(&metadata),
                    path,
                };
                let (of, names) = if metadata.len() > LONGEST_REFERENCE {
                    (of_a_table(&entry.path), Vec::new())
                } else {
                    let bytes = io::read(&entry.path)?.unwrap_or_default();
                    match record::decode(&bytes) {
                        Some((name, value)) => (
                            Sha256::named_in(name).collect(),
                            std::str::from_utf8(value).map_or_else(
                                |_| Vec::new(),
                                |text| Sha256::named_in(text).collect(),
                            ),
                        ),
                        // Damaged: it counts as absent.
                        None => (Vec::new(), Vec::new()),
                    }
                };
                found.references.push(Reference {
                    entry,
                    is_root,
                    is_memory,
                    is_hint,
                    of,
                    names,
                });
            }
        }
        Ok(())
    }
}

/// What the name of a large reference names.
fn of_a_table(path: &Path) -> Vec<Sha256> {
    let file = path.file_name().and_then(OsStr::to_str);
    let name = file.and_then(crate::names::unescape);
    name.map_or_else(Vec::new, |name| Sha256::named_in(&name).collect())
}

/// The files of a folder, by the digests that they are named by.
fn files(folder: &Path, found: &mut BTreeMap<Sha256, Entry>) -> Result<(), StoreError> {
    for name in io::names(folder)? {
        let path = folder.join(&name);
        let Some(metadata) = look(&path)? else {
            continue;
        };
        let entry = Entry {
            used: written(&metadata),
            bytes: on_disk(&metadata),
            path,
        };
        // What is none of ours is left alone.
        if let Some(digest) = name.to_str().and_then(|name| Sha256::from_hex(name).ok()) {
            found.insert(digest, entry);
        }
    }
    Ok(())
}

/// What is at `path`; none if nothing is any more.
fn look(path: &Path) -> Result<Option<Metadata>, StoreError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(source)
            if matches!(
                source.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(io::fail("inspect", path, source)),
    }
}

fn written(metadata: &Metadata) -> SystemTime {
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn changed(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
    let nanoseconds = u64::try_from(metadata.ctime_nsec()).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
}
