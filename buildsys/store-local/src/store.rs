//! The store itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tbuild_digest::{ActionKey, BlobDigest, DiffId};
use tbuild_store::{BlobReader, BlobWriter, Staging, Store, StoreError};

use crate::blobs::LocalBlobWriter;
use crate::layout::{self, Layout};
use crate::session::Session;
use crate::snapshots::{self, LocalStaging};
use crate::{io, names, record, references};

/// What survives a crash of the machine. A crash of the process alone loses nothing either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Nothing is synced. What the machine loses does not have its digest any more, and is made again.
    #[default]
    Cache,
    /// Blobs, snapshots, action results and references are synced before they become visible.
    Synced,
}

/// A store in a folder. Cheap to open; clones are the same store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    layout: Arc<Layout>,
    durability: Durability,
    /// Started at the first write: a run that changes nothing makes no folder.
    session: Arc<Mutex<Option<Arc<Session>>>>,
    /// Whether snapshots have been looked after since the machine started.
    recovered: Arc<AtomicBool>,
}

impl LocalStore {
    /// Opens the store at `path`; makes it where nothing or an empty folder is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Durability::default())
    }

    /// [`LocalStore::open`], with a choice of what survives a crash of the machine.
    pub fn open_with(path: &Path, durability: Durability) -> Result<Self, StoreError> {
        Ok(Self {
            layout: Arc::new(Layout::open(path)?),
            durability,
            session: Arc::default(),
            recovered: Arc::default(),
        })
    }

    /// The store's folder, absolute.
    pub fn path(&self) -> &Path {
        self.layout.root()
    }

    /// Where things lie.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// This process's own folder in `tmp/`.
    pub(crate) fn session(&self) -> Result<Arc<Session>, StoreError> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = &*session {
            return Ok(Arc::clone(session));
        }
        let started = Arc::new(Session::start(
            &self.layout.path("tmp"),
            &self.layout.stages(),
        )?);
        *session = Some(Arc::clone(&started));
        Ok(started)
    }

    /// Where the blob lies, or would.
    pub(crate) fn blob_path(&self, digest: &BlobDigest) -> PathBuf {
        self.layout.path("blobs/sha256").join(digest.hex())
    }

    pub(crate) fn action_path(&self, key: &ActionKey) -> PathBuf {
        let hex = key.hex();
        let mut path = self.layout.path("actions");
        path.push(&hex[..2]);
        path.push(hex);
        path
    }

    pub(crate) fn snapshot_path(&self, diff_id: &DiffId) -> PathBuf {
        self.layout.snapshots().join(diff_id.hex())
    }

    /// Looks after snapshots once since the machine started.
    pub(crate) fn recover_once(&self) -> Result<(), StoreError> {
        if !self.recovered.load(Ordering::Acquire) {
            self.recover()?;
            self.recovered.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Replaces the file at `target` by `bytes`, atomically; makes its folder where it is missing.
    pub(crate) fn replace(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = self.session()?.fresh("file");
        let mut file = io::create(&temporary, 0o666)?;
        file.write_all(bytes)
            .map_err(|source| io::fail("write", &temporary, source))?;
        let synced = self.durability == Durability::Synced;
        if synced {
            file.sync_all()
                .map_err(|source| io::fail("sync", &temporary, source))?;
        }
        let folder = target.parent().unwrap_or(target);
        match std::fs::rename(&temporary, target) {
            Ok(()) => {}
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                io::make_folder(folder, 0o777)?;
                io::rename(&temporary, target)?;
            }
            Err(_) => io::rename(&temporary, target)?,
        }
        if synced {
            io::sync_folder(folder)
        } else {
            Ok(())
        }
    }

    /// Takes a blob out of the store whose bytes are not those of its name, and keeps it in `quarantine/`
    /// for whoever wants to know why. Nothing happens if it is not there.
    pub fn quarantine(&self, digest: &BlobDigest) -> Result<(), StoreError> {
        let from = self.blob_path(digest);
        let name = format!("{}-{:016x}", digest.hex(), layout::rand_u64()?);
        let to = self.layout.path("quarantine").join(name);
        match std::fs::rename(&from, &to) {
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(_) => io::rename(&from, &to),
            Ok(()) => Ok(()),
        }
    }

    /// Replaces `index.json`, the list of manifests that readers of OCI layouts see (OCI image spec, "Image
    /// Index").
    pub fn set_index(&self, json: &[u8]) -> Result<(), StoreError> {
        self.replace(&self.layout.path("index.json"), json)
    }
}

impl Store for LocalStore {
    fn blob_size(&self, digest: &BlobDigest) -> Result<Option<u64>, StoreError> {
        let path = self.blob_path(digest);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io::fail("inspect", &path, source)),
        }
    }

    fn open_blob(&self, digest: &BlobDigest) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let file = io::open(&self.blob_path(digest))?;
        Ok(file.map(|file| Box::new(file) as Box<dyn BlobReader>))
    }

    fn blob_writer(&self) -> Result<Box<dyn BlobWriter>, StoreError> {
        let blobs = self.layout.path("blobs/sha256");
        let writer = LocalBlobWriter::create(self.session()?, blobs, self.durability)?;
        Ok(Box::new(writer))
    }

    fn put_blob(&self, bytes: &[u8]) -> Result<BlobDigest, StoreError> {
        let digest = BlobDigest::of(bytes);
        if self.blob_size(&digest)? == Some(bytes.len() as u64) {
            return Ok(digest);
        }
        let mut writer = self.blob_writer()?;
        writer
            .write_all(bytes)
            .map_err(|source| StoreError::io(format!("write blob {digest}"), source))?;
        writer.commit(Some(&digest)).map(|(digest, _)| digest)
    }

    fn read_blob(&self, digest: &BlobDigest) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = io::read(&self.blob_path(digest))? else {
            return Ok(None);
        };
        if BlobDigest::of(&bytes) == *digest {
            return Ok(Some(bytes));
        }
        self.quarantine(digest)?;
        Err(StoreError::Corrupt(*digest))
    }

    fn action(&self, key: &ActionKey) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = io::read_used(&self.action_path(key))? else {
            return Ok(None);
        };
        Ok(record::decode(&bytes)
            .filter(|(name, _)| *name == key.hex())
            .map(|(_, value)| value.to_vec()))
    }

    fn put_action(&self, key: &ActionKey, result: &[u8]) -> Result<(), StoreError> {
        let record = record::encode(&key.hex(), result);
        self.replace(&self.action_path(key), &record)
    }

    fn reference(&self, space: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        references::get(&references::folder(&self.layout.path("refs"), space)?, name)
    }

    fn has_reference(&self, space: &str, name: &str) -> Result<bool, StoreError> {
        references::is_there(&references::folder(&self.layout.path("refs"), space)?, name)
    }

    fn set_reference(
        &self,
        space: &str,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let folder = references::folder(&self.layout.path("refs"), space)?;
        let path = folder.join(names::escape(name));
        match value {
            Some(value) => self.replace(&path, &record::encode(name, value)),
            None => io::remove_file(&path).map(|_| ()),
        }
    }

    fn references(&self, space: &str) -> Result<Vec<String>, StoreError> {
        references::list(&references::folder(&self.layout.path("refs"), space)?)
    }

    fn snapshot(&self, diff_id: &DiffId) -> Result<Option<PathBuf>, StoreError> {
        self.recover_once()?;
        let path = self.snapshot_path(diff_id);
        match std::fs::symlink_metadata(&path) {
            Ok(_) => Ok(Some(path)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io::fail("inspect", &path, source)),
        }
    }

    fn stage(&self) -> Result<Box<dyn Staging>, StoreError> {
        Ok(Box::new(LocalStaging::create(self.session()?)?))
    }

    fn commit_snapshot(
        &self,
        staging: Box<dyn Staging>,
        diff_id: &DiffId,
    ) -> Result<PathBuf, StoreError> {
        self.recover_once()?;
        let target = self.snapshot_path(diff_id);
        if self.durability == Durability::Synced {
            std::fs::File::open(staging.upper())
                .and_then(|upper| rustix::fs::syncfs(upper).map_err(Into::into))
                .map_err(|source| io::fail("sync", staging.upper(), source))?;
        }
        snapshots::place(staging.upper(), &target)?;
        Ok(target)
    }

    fn lock(&self, name: &str) -> Result<Box<dyn Send>, StoreError> {
        let path = self.layout.path("locks").join(names::escape(name));
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|source| io::fail("open", &path, source))?;
        file.lock()
            .map_err(|source| io::fail("lock", &path, source))?;
        Ok(Box::new(file))
    }

    fn scratch(&self, purpose: &str) -> Result<PathBuf, StoreError> {
        let path = self.layout.path("scratch").join(names::escape(purpose));
        io::make_folder(&path, 0o700)?;
        Ok(path)
    }
}
