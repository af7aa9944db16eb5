//! Why an archive could not be used.

use std::io;

use tbuild_digest::BlobDigest;
use tbuild_store::StoreError;

/// Why an archive could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is not in the store.
    #[error("archive {0} is not in the store")]
    Missing(BlobDigest),
    /// Neither tar (plain, gzip, xz or zstd) nor zip, or damaged.
    #[error("cannot read archive {digest}")]
    Read {
        /// The archive.
        digest: BlobDigest,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// It has no such file.
    #[error("archive {digest} holds no file {member:?}; it holds {found}")]
    NoMember {
        /// The archive.
        digest: BlobDigest,
        /// What was asked for.
        member: String,
        /// The first few names that it does hold.
        found: String,
    },
    /// The store would not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
