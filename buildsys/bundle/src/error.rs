//! Why a bundle could not be written or read.

use tbuild_digest::{ActionKey, BlobDigest};
use tbuild_store::StoreError;

/// Why a bundle could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A record that is to be in it is not in the store.
    #[error("the store has no record of action {0}")]
    NoRecord(ActionKey),
    /// The store cannot do something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file cannot be written.
    #[error("cannot write the bundle")]
    Write(#[source] std::io::Error),
    /// The file cannot be read, or is no bundle: it is cut off, not compressed by zstd, no tar.
    #[error("cannot read the bundle")]
    Read(#[source] std::io::Error),
    /// It does not say what is in it, or says so in another version's words.
    #[error("this is no bundle of this tbuild: {0}")]
    Format(String),
    /// A member that bundles do not have.
    #[error("the bundle has a member {0:?}, which no bundle has")]
    Member(String),
    /// A blob that is another than its name says.
    #[error("blob {name} of the bundle is damaged")]
    Blob {
        /// Its name.
        name: BlobDigest,
        /// What was found.
        #[source]
        source: StoreError,
    },
    /// A record that is another action's.
    #[error("the record of action {0} of the bundle is damaged or another's")]
    Record(ActionKey),
    /// It ends before everything that it says is in it has come.
    #[error("the bundle ends early: {found} of {named} {what} are in it")]
    Short {
        /// Records or blobs.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many it names.
        named: u64,
    },
}

impl BundleError {
    /// Whether the bundle itself is to blame.
    pub fn is_malformed(&self) -> bool {
        !matches!(self, Self::NoRecord(_) | Self::Store(_) | Self::Write(_))
    }
}
