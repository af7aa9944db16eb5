//! Why a base could not be built.

use std::io;

use tbuild_digest::BlobDigest;
use tbuild_exec::{ExecError, Exit};
use tbuild_store::StoreError;

/// Why a base could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildBaseError {
    /// A package is not in the store: it must be fetched first.
    #[error("package {package} ({digest}) is not in the store")]
    Missing {
        /// The package file.
        package: String,
        /// Its blob.
        digest: BlobDigest,
    },
    /// A package cannot be unpacked.
    #[error("cannot unpack {package}")]
    Unpack {
        /// The package file.
        package: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A lock without what makes a system.
    #[error("the lock of {suite} holds no {package}")]
    Incomplete {
        /// The suite.
        suite: String,
        /// What is missing.
        package: &'static str,
    },
    /// A program in the base failed.
    #[error("{program} ended with {exit} while the packages were configured")]
    Configure {
        /// The program.
        program: String,
        /// How it ended.
        exit: Exit,
    },
    /// It could not be run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The store would not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the base could not be read or written.
    #[error("cannot {what} of the base")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl BuildBaseError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
