//! Blobs of another store.

use tbuild_digest::BlobDigest;
use tbuild_store::{Store as _, StoreError};

use crate::{LocalStore, io};

impl LocalStore {
    /// Has the blob that `other` has: as a further name of the same file where both are on one file system, for
    /// neither ever writes to it; else as a copy. False if `other` does not have it.
    pub fn adopt_blob(&self, other: &Self, digest: &BlobDigest) -> Result<bool, StoreError> {
        if self.blob_size(digest)?.is_some() {
            return Ok(true);
        }
        let (from, to) = (other.blob_path(digest), self.blob_path(digest));
        match std::fs::hard_link(&from, &to) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(true),
            // Another file system, or one without hard links.
            Err(_) => {}
        }
        let Some(mut reader) = other.open_blob(digest)? else {
            return Ok(false);
        };
        let mut writer = self.blob_writer()?;
        std::io::copy(&mut reader, &mut writer)
            .map_err(|source| io::fail("copy", &from, source))?;
        writer.commit(Some(digest))?;
        Ok(true)
    }
}
