//! What parent and helper say to each other: one JSON value a line; after the specification's the bytes of the files
//! that it has mounted.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tbuild_exec::{Exit, Limits, Port, User};

use crate::container::Launch;

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
    pub network: Reach,
    pub hostname: String,
    pub umask: u32,
    pub limits: Limits,
    pub privileged: bool,
    /// A user namespace that the program enters just before it starts.
    pub user_namespace: Option<PathBuf>,
    /// The OCI runtime that starts the program; without one the helper does so itself.
    pub runtime: Option<PathBuf>,
    /// The folder with the socket to which the init of an engine's container connects; without one the namespaces are
    /// our own.
    pub container: Option<PathBuf>,
}

impl Specification {
    /// What the init of a container has to know: it is the engine that has dropped privileges, and the helper that
    /// has mounted all.
    pub(crate) fn program_alone(&self) -> Self {
        Self {
            lower: Vec::new(),
            upper: PathBuf::new(),
            work: PathBuf::new(),
            argv: self.argv.clone(),
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            user: self.user.clone(),
            mounts: Vec::new(),
            network: self.network.clone(),
            hostname: self.hostname.clone(),
            umask: self.umask,
            limits: self.limits.clone(),
            privileged: true,
            user_namespace: None,
            runtime: None,
            container: None,
        }
    }

    /// Writes it for [`Self::receive`].
    pub(crate) fn send(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)?;
        for point in &self.mounts {
            if let Source::Content { bytes, .. } = &point.source {
                to.write_all(bytes)?;
            }
        }
        Ok(())
    }

    /// Reads what [`Self::send`] wrote.
    pub(crate) fn receive(mut from: impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let mut specification: Self = serde_json::from_str(&line)?;
        for point in &mut specification.mounts {
            if let Source::Content { bytes, .. } = &mut point.source {
                from.read_exact(bytes)?;
            }
        }
        Ok(specification)
    }
}

/// Bytes as their number, and a number as so many zeros: certificates as numbers in JSON took half of a step's time.
mod number_of {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        bytes.len().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        usize::deserialize(from).map(|count| vec![0; count])
    }
}

/// What network there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reach {
    /// The caller's.
    Host,
    /// A loopback device with these sockets, which are sent up as soon as they are there.
    Loopback(Vec<Port>),
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
        /// In the line only their number.
        #[serde(with = "number_of")]
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

/// How it goes. The first of these that tells of an end is the one that counts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A container may be started, with this in it.
    Listening(Launch),
    /// The container's first process is there.
    Joined,
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
    /// What a runtime said of it, which has no errno.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<String>,
}

impl Failure {
    /// One with an errno.
    pub(crate) fn new(what: impl Into<String>, errno: i32) -> Self {
        Self {
            what: what.into(),
            errno,
            said: None,
        }
    }

    /// One that a runtime tells of.
    pub(crate) fn told(what: impl Into<String>, said: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            errno: libc::EIO,
            said: Some(said.into()),
        }
    }
}

/// A step that failed, on its way to a report.
pub(crate) trait Tried<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Tried<T> for io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Failure::new(what(), errno),
            None => Failure::told(what(), error.to_string()),
        })
    }
}

impl<T> Tried<T> for rustix::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(what(), errno.raw_os_error()))
    }
}
