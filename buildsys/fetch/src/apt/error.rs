//! Why a distribution's packages could not be had.

use std::io;
use std::path::PathBuf;

use tbuild_lock::FieldError;
use tbuild_store::StoreError;

use crate::{HttpError, OriginError};

/// Why a distribution's packages could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    /// Nobody is known to serve it.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// It could not be fetched.
    #[error("suite {suite}")]
    Http {
        /// What was being resolved.
        suite: String,
        /// Why.
        #[source]
        source: HttpError,
    },
    /// The store would not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The program that checks signatures is missing.
    #[error("cannot run {program:?} to check signatures: install Debian's package gpgv")]
    Gpgv {
        /// What was to run.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The keyring cannot be read.
    #[error(
        "cannot read the keyring {path}: install the distribution's archive keyring or name another"
    )]
    Keyring {
        /// The keyring.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No good signature.
    #[error("the signature of {suite} is not good by {keyring}: {why}; gpgv says:\n{words}")]
    Signature {
        /// The suite.
        suite: String,
        /// The keyring.
        keyring: PathBuf,
        /// In one line.
        why: String,
        /// What gpgv wrote.
        words: String,
    },
    /// The release is too old to be trusted (its Valid-Until has passed).
    #[error(
        "the release of {suite} expired at {valid_until}: the mirror is stale, or this machine's clock is wrong"
    )]
    Expired {
        /// The suite.
        suite: String,
        /// What the release says.
        valid_until: String,
    },
    /// A release or an index is not what it should be.
    #[error("suite {suite}: {why}")]
    Malformed {
        /// The suite.
        suite: String,
        /// What is wrong.
        why: String,
    },
    /// A path in an index leads elsewhere.
    #[error("suite {suite}")]
    Path {
        /// The suite.
        suite: String,
        /// The path.
        #[source]
        source: FieldError,
    },
    /// Dependencies that nothing satisfies.
    #[error("no package of {suites} satisfies {relation}, which {because} needs")]
    Unsatisfied {
        /// What was searched.
        suites: String,
        /// What is needed.
        relation: String,
        /// Who needs it.
        because: String,
    },
    /// Two packages that exclude each other were both needed.
    #[error("{package} conflicts with {other}, and both are needed")]
    Conflict {
        /// The one.
        package: String,
        /// The other.
        other: String,
    },
    /// A local file could not be used.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl AptError {
    pub(super) fn malformed(suite: &str, why: impl Into<String>) -> Self {
        Self::Malformed {
            suite: suite.to_owned(),
            why: why.into(),
        }
    }

    pub(super) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            source,
        }
    }
}
