//! What parent and helper say to each other: one JSON value a line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tbuild_exec::{Exit, Limits, Network, User};

/// The first argument that makes the program its own helper.
pub const HELPER_ARG: &str = "__sandbox";

/// What is to be done. Sent down once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Specification {
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    pub user: User,
    pub mounts: Vec<MountPoint>,
    pub network: Network,
    pub hostname: String,
    pub umask: u32,
    pub limits: Limits,
    pub privileged: bool,
}

/// One mount.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    pub target: String,
    pub read_only: bool,
    pub source: Source,
}

/// What it shows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Source {
    Bind(PathBuf),
    Content {
        bytes: Vec<u8>,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Tmpfs {
        size: Option<u64>,
    },
    Layers {
        lower: Vec<PathBuf>,
        path: String,
        writes: Option<(PathBuf, PathBuf)>,
    },
}

/// How it went. Sent up once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program ended.
    Exit(Exit),
    /// The sandbox could not be set up.
    Setup(Failure),
    /// The program could not be started.
    Start(Failure),
}

/// What failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// What was tried: `mount /proc`.
    pub what: String,
    /// errno.
    pub errno: i32,
}

/// A step that failed, on its way to a report.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Tried<T> for std::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            what: what(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        })
    }
}

impl<T> Tried<T> for rustix::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            what: what(),
            errno: errno.raw_os_error(),
        })
    }
}
