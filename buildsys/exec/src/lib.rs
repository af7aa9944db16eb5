//! The executor trait: run one action in a root file system.
//!
//! An executor knows nothing of nodes, keys or stores: it is given folders, runs a program, and says how the
//! program ended. This crate does not know how a process is isolated.

pub mod conformance;
mod limits;
mod network;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

pub use limits::{Limits, Ulimit, UlimitError};
pub use network::{MOST_PORTS, Network, Port, Serve, Transport};

/// One program run over a root file system.
#[derive(Debug, Clone)]
pub struct Action {
    /// Unpacked layers, topmost first, in overlayfs form. May be empty.
    pub lower: Vec<PathBuf>,
    /// Where the layer that the action writes lands, in overlayfs form; empty at first.
    pub upper: PathBuf,
    /// An empty folder beside `upper` on the same file system.
    pub work: PathBuf,
    /// Program and arguments; the program is looked up in the action's own PATH.
    pub argv: Vec<String>,
    /// The whole environment. HOME belongs in it: OCI runtimes add one of their own where there is none.
    pub env: BTreeMap<String, String>,
    /// Absolute path inside the root; it exists.
    pub cwd: String,
    /// Who runs it.
    pub user: User,
    /// What is mounted besides the executor's own /proc, /sys, /dev, /dev/shm, /tmp-less standard set.
    pub mounts: Vec<Mount>,
    /// What network it sees.
    pub network: Network,
    /// Seen by `uname`.
    pub hostname: String,
    /// Seen by `umask`.
    pub umask: u32,
    /// The most that it and all that it starts may use.
    pub limits: Limits,
    /// Whether it may do all that the executor itself may: no capability dropped, no call refused, nothing of
    /// the kernel hidden.
    pub privileged: bool,
    /// A user namespace (a path as in /proc/PID/ns/user) whose ids are this machine's, and which the program enters
    /// just before it starts: for what a user namespace has of its own, such as emulators. Executors without it
    /// refuse it.
    pub user_namespace: Option<PathBuf>,
}

impl Action {
    /// A program that root runs in `/`, with nothing in its environment and nothing mounted, without a network, limits
    /// or privileges, with the usual umask.
    pub fn new(lower: Vec<PathBuf>, upper: PathBuf, work: PathBuf, argv: Vec<String>) -> Self {
        Self {
            lower,
            upper,
            work,
            argv,
            env: BTreeMap::new(),
            cwd: "/".to_owned(),
            user: User::default(),
            mounts: Vec::new(),
            network: Network::None,
            hostname: "localhost".to_owned(),
            umask: 0o022,
            limits: Limits::default(),
            privileged: false,
            user_namespace: None,
        }
    }
}

/// User and groups by number.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// Something that is there while the action runs and never enters its layer. Where the mount point does not
/// exist, the executor makes it and takes it away again.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Absolute path inside the root.
    pub target: String,
    /// What is mounted.
    pub source: MountSource,
    /// Whether the action may write to it.
    pub read_only: bool,
}

/// What a mount shows.
#[derive(Debug, Clone)]
pub enum MountSource {
    /// A file or folder of the host.
    Bind(PathBuf),
    /// A regular file of these bytes.
    Content {
        /// The bytes.
        bytes: Vec<u8>,
        /// Permission bits.
        mode: u32,
        /// User id of its owner.
        uid: u32,
        /// Group id of its owner.
        gid: u32,
    },
    /// An empty folder in memory.
    Tmpfs {
        /// The most that it holds, in bytes; none is the kernel's default.
        size: Option<u64>,
    },
    /// A file or folder of stacked layers.
    Layers {
        /// Unpacked layers, topmost first, in overlayfs form. None of them is ever written to.
        lower: Vec<PathBuf>,
        /// Absolute path in what the layers show, without links.
        path: String,
        /// Where what the action writes to it goes; needed where the mount is not read-only.
        writes: Option<Writes>,
    },
}

impl MountSource {
    /// A regular file of root's.
    pub fn content(bytes: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self::Content {
            bytes: bytes.into(),
            mode,
            uid: 0,
            gid: 0,
        }
    }
}

/// Folders that take what an action writes to a mount, to be thrown away afterwards. Both are empty at first,
/// beside each other on one file system.
#[derive(Debug, Clone)]
pub struct Writes {
    /// What it wrote, in overlayfs form.
    pub upper: PathBuf,
    /// What overlayfs needs.
    pub work: PathBuf,
}

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// With a status; 0 is success.
    Status(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// Whether the program succeeded.
    pub fn success(self) -> bool {
        self == Self::Status(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Says that work is no longer wanted. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Not cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Where an action's output goes, in pieces as they come.
pub type OutputSink<'a> = dyn FnMut(Stream, &[u8]) + Send + 'a;

/// Runs actions.
pub trait Executor: Send + Sync + std::fmt::Debug {
    /// A short name, for messages. No key holds it: executors do the same.
    fn name(&self) -> &'static str;

    /// What cannot be done here although executors of this name do it elsewhere, for whoever wonders why a
    /// step failed.
    fn caveat(&self) -> Option<String> {
        None
    }

    /// Runs `action` and waits; blocks. Within 200 ms of `cancel` every process of the action is dead. When
    /// this returns, no process, mount or namespace of the action is left, and `upper` holds its layer.
    fn run(
        &self,
        action: &Action,
        output: &mut OutputSink<'_>,
        cancel: &Cancel,
    ) -> Result<Exit, ExecError>;
}

/// Why an action could not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The environment lacks something.
    #[error("the {executor} executor cannot {what}")]
    Setup {
        /// Which executor.
        executor: &'static str,
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program is not there or cannot be started.
    #[error("cannot start {program:?}")]
    Start {
        /// What was to run.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It was no longer wanted.
    #[error("cancelled")]
    Cancelled,
}
