//! Why a repository could not be read.

use std::io;
use std::path::PathBuf;

use tbuild_store::StoreError;

/// Why a repository could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no git.
    #[error("cannot run {program:?}: install git")]
    Missing {
        /// What was to run.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The repository cannot be reached or read.
    #[error("cannot fetch from {url}; git says:\n{words}")]
    Fetch {
        /// The repository.
        url: String,
        /// What git wrote.
        words: String,
    },
    /// No such revision.
    #[error("{url} has no revision {rev:?}")]
    NoRevision {
        /// The repository.
        url: String,
        /// What was asked for.
        rev: String,
    },
    /// The start of more than one commit id.
    #[error("{rev:?} is the start of more than one commit of {url}")]
    Ambiguous {
        /// The repository.
        url: String,
        /// What was asked for.
        rev: String,
    },
    /// A git command failed that should not have.
    #[error("git {command} failed; it says:\n{words}")]
    Command {
        /// The command.
        command: String,
        /// What git wrote.
        words: String,
    },
    /// A commit with a submodule whose repository nothing names.
    #[error("{url} has a submodule at {path}, but its .gitmodules names no URL for it")]
    Submodule {
        /// The repository.
        url: String,
        /// The submodule's folder.
        path: String,
    },
    /// Submodules within submodules without end.
    #[error("the submodules of {url} go too deep")]
    TooDeep {
        /// Where it was given up.
        url: String,
    },
    /// The store would not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
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

impl GitError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
