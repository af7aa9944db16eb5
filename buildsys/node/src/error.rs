//! Why a node cannot come up or go down.

use std::io;
use std::path::{Path, PathBuf};

use crate::Phase;

/// What a caller's part of the work failed with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a node cannot come up or go down.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The specification is wrong.
    #[error("{0}")]
    Spec(String),
    /// Namespaces, mounts and links need root.
    #[error("a node needs root: it makes namespaces, mounts and network links")]
    NotRoot,
    /// The machine lacks something.
    #[error("{what} is missing on this machine: {remedy}")]
    Missing {
        /// What.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// A node of another specification is there.
    #[error(
        "node {name} is up with another image, version, registry or address: take it down first"
    )]
    Differs {
        /// Its name.
        name: String,
    },
    /// A node of another data folder runs on this machine.
    #[error(
        "node {name} of {} runs on this machine, and has the same name or addresses: take it down there first",
        data.display()
    )]
    Taken {
        /// Its name.
        name: String,
        /// Its data folder.
        data: PathBuf,
    },
    /// A file or folder.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done: "read", "write", ...
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of ours holds something else.
    #[error("{} is not a node's state", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A program that was called failed.
    #[error("{command} failed: {output}")]
    Command {
        /// Program and arguments.
        command: String,
        /// What it said, or how it ended.
        output: String,
    },
    /// A part of coming up failed.
    #[error("node {name}: {phase}: {message}{}", log_tail(log.as_deref(), tail))]
    Phase {
        /// The node.
        name: String,
        /// Which part.
        phase: Phase,
        /// What went wrong.
        message: String,
        /// The log that tells more.
        log: Option<PathBuf>,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// The caller's observer failed.
    #[error("images for node {name}")]
    Images {
        /// The node.
        name: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The API server cannot be asked.
    #[error("API server {address}: {message}")]
    Api {
        /// Where it is.
        address: String,
        /// What went wrong.
        message: String,
    },
    /// Something outlived its end.
    #[error("node {name}: {what} is still there")]
    Left {
        /// The node.
        name: String,
        /// What.
        what: String,
    },
}

impl NodeError {
    /// Adds `action` and `path` to an IO error.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

fn log_tail(log: Option<&Path>, tail: &[String]) -> String {
    let mut text = String::new();
    if let Some(log) = log {
        text.push_str("\nlast lines of ");
        text.push_str(&log.display().to_string());
        text.push(':');
    }
    for line in tail {
        text.push_str("\n  ");
        text.push_str(line);
    }
    text
}
