//! Writing blobs.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use tbuild_digest::{BlobDigest, HashingWriter};
use tbuild_store::{BlobWriter, StoreError};

use crate::session::Session;
use crate::{Durability, io};

/// Bytes gathered before they are hashed and written: hashing many small pieces is slow.
const BUFFER: usize = 256 * 1024;

/// A blob on its way into `blobs/sha256`.
pub struct LocalBlobWriter {
    file: Option<BufWriter<HashingWriter<File>>>,
    temporary: PathBuf,
    blobs: PathBuf,
    durability: Durability,
    // Keeps the temporary file's folder locked.
    _session: Arc<Session>,
}

impl LocalBlobWriter {
    /// Starts a blob in `session`, for the folder `blobs`.
    pub fn create(
        session: Arc<Session>,
        blobs: PathBuf,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let temporary = session.fresh("blob");
        let file = io::create(&temporary, 0o444)?;
        Ok(Self {
            file: Some(BufWriter::with_capacity(BUFFER, HashingWriter::new(file))),
            temporary,
            blobs,
            durability,
            _session: session,
        })
    }

    fn file(&mut self) -> std::io::Result<&mut BufWriter<HashingWriter<File>>> {
        self.file
            .as_mut()
            .ok_or_else(|| std::io::Error::other("the blob is closed"))
    }
}

impl Write for LocalBlobWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file()?.flush()
    }
}

impl BlobWriter for LocalBlobWriter {
    fn commit(
        mut self: Box<Self>,
        expected: Option<&BlobDigest>,
    ) -> Result<(BlobDigest, u64), StoreError> {
        let failed = |source| io::fail("write", &self.temporary, source);
        let Some(mut buffered) = self.file.take() else {
            return Err(failed(std::io::Error::other("the blob is closed")));
        };
        buffered.flush().map_err(failed)?;
        let (hashing, _) = buffered.into_parts();
        let (file, digest, size) = hashing.finish();
        let actual = BlobDigest(digest);
        if let Some(expected) = expected
            && *expected != actual
        {
            return Err(StoreError::Mismatch {
                expected: *expected,
                actual,
            });
        }
        if self.durability == Durability::Synced {
            file.sync_all()
                .map_err(|source| io::fail("sync", &self.temporary, source))?;
        }
        // Over a blob that is there already: the same bytes, unless that one has rotted.
        io::rename(&self.temporary, &self.blobs.join(actual.hex()))?;
        self.temporary = PathBuf::new();
        if self.durability == Durability::Synced {
            io::sync_folder(&self.blobs)?;
        }
        Ok((actual, size))
    }
}

impl Drop for LocalBlobWriter {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // What stays goes with the session.
            let _ = io::remove_file(&self.temporary);
        }
    }
}
