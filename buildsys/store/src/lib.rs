//! The store trait: content-addressed blobs, action results, references, and layers unpacked as folders.
//!
//! Every method may block; async callers wrap it. Several processes may share one store. This crate does not
//! know where a store keeps things.

pub mod conformance;

use std::fmt;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use tbuild_digest::{ActionKey, BlobDigest, DiffId};

/// A blob being read.
pub trait BlobReader: Read + Seek + Send {}
impl<T: Read + Seek + Send> BlobReader for T {}

/// A blob being written. Dropped before [`BlobWriter::commit`], it leaves nothing behind.
pub trait BlobWriter: Write + Send {
    /// Makes the blob visible, whole, under its digest. Returns the digest and the size in bytes.
    /// `expected` is checked first: on a mismatch nothing becomes visible.
    fn commit(
        self: Box<Self>,
        expected: Option<&BlobDigest>,
    ) -> Result<(BlobDigest, u64), StoreError>;
}

/// A folder on the store's own file system to build a layer in. Dropped, it is removed.
pub trait Staging: Send {
    /// The layer's own files, in overlayfs form (whiteouts are 0:0 character devices, opaque folders carry
    /// `trusted.overlay.opaque`). Empty at first.
    fn upper(&self) -> &Path;
    /// The work folder that overlayfs needs, on the same file system.
    fn work(&self) -> &Path;
}

/// What a store does.
pub trait Store: Send + Sync + fmt::Debug {
    /// The size in bytes of a blob, if it is here.
    fn blob_size(&self, digest: &BlobDigest) -> Result<Option<u64>, StoreError>;
    /// Opens a blob, if it is here.
    fn open_blob(&self, digest: &BlobDigest) -> Result<Option<Box<dyn BlobReader>>, StoreError>;
    /// Starts writing a blob.
    fn blob_writer(&self) -> Result<Box<dyn BlobWriter>, StoreError>;
    /// Writes a small blob at once.
    fn put_blob(&self, bytes: &[u8]) -> Result<BlobDigest, StoreError> {
        let mut writer = self.blob_writer()?;
        writer
            .write_all(bytes)
            .map_err(|source| StoreError::io("write a blob", source))?;
        writer.commit(None).map(|(digest, _)| digest)
    }
    /// Reads a small blob whole; its digest is checked.
    fn read_blob(&self, digest: &BlobDigest) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(mut reader) = self.open_blob(digest)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .map_err(|source| StoreError::io(format!("read blob {digest}"), source))?;
        if BlobDigest::of(&bytes) == *digest {
            Ok(Some(bytes))
        } else {
            Err(StoreError::Corrupt(*digest))
        }
    }

    /// The recorded result of an action: bytes whose schema is the caller's.
    fn action(&self, key: &ActionKey) -> Result<Option<Vec<u8>>, StoreError>;
    /// Records the result of an action; replaces an earlier one atomically.
    fn put_action(&self, key: &ActionKey, result: &[u8]) -> Result<(), StoreError>;

    /// A named pointer (last realisation of a node, tag, gc root, cached fact). `space` is a short fixed
    /// word; `name` is any text.
    fn reference(&self, space: &str, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Whether there is a record of that name. One that was damaged since may count as one.
    fn has_reference(&self, space: &str, name: &str) -> Result<bool, StoreError> {
        Ok(self.reference(space, name)?.is_some())
    }
    /// Sets a named pointer atomically; none removes it.
    fn set_reference(
        &self,
        space: &str,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError>;
    /// All names in `space`, sorted.
    fn references(&self, space: &str) -> Result<Vec<String>, StoreError>;

    /// The folder that holds the layer unpacked, in overlayfs form, if it is here. Never to be written to.
    fn snapshot(&self, diff_id: &DiffId) -> Result<Option<PathBuf>, StoreError>;
    /// Starts a layer.
    fn stage(&self) -> Result<Box<dyn Staging>, StoreError>;
    /// Makes the staged folder the snapshot of `diff_id`. If another process was first, its folder stays and
    /// this one goes. Returns the snapshot's folder.
    fn commit_snapshot(
        &self,
        staging: Box<dyn Staging>,
        diff_id: &DiffId,
    ) -> Result<PathBuf, StoreError>;

    /// Waits until no other process or thread holds `name`; held until the guard is dropped. Used so that
    /// one action runs once however many processes want it.
    fn lock(&self, name: &str) -> Result<Box<dyn Send>, StoreError>;
    /// A folder for one purpose that lives and dies with the store (caches that may vanish at any time).
    fn scratch(&self, purpose: &str) -> Result<PathBuf, StoreError>;
}

/// Why a store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("cannot {what}")]
    Io {
        /// What was tried, with its path.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// This machine, or this user on it, lacks what it takes.
    #[error("cannot {what}")]
    Lacking {
        /// What was tried, with its path.
        what: String,
        /// What is lacking.
        #[source]
        source: std::io::Error,
    },
    /// What is to be unpacked asks for what cannot be: it is to blame, not this machine.
    #[error("cannot {what}")]
    Content {
        /// What was tried, on what.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A blob's bytes are not those of its name.
    #[error("blob {0} is corrupt")]
    Corrupt(BlobDigest),
    /// A blob being written turned out to be another.
    #[error("expected blob {expected}, got {actual}")]
    Mismatch {
        /// What was promised.
        expected: BlobDigest,
        /// What came.
        actual: BlobDigest,
    },
    /// The store's own folder is not a store, or one of another version.
    #[error("{path} is no store that this tbuild can use: {why}")]
    Format {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl StoreError {
    /// An IO error with what was tried.
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
