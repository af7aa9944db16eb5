//! The outside world as input: Debian packages, git repositories, files over HTTP, archives.
//!
//! [`MachineConfig`] is the machine's own client configuration, read once; [`Origins`] says by it which host
//! serves `debian`, `pypi` or `go` here. [`Http`] brings files into a store, checked by digest. [`Fetcher`] turns
//! a suite's name into a lock of package files and fetches them; [`build_base`] unpacks and configures them by
//! an executor. [`Git`] checks out revisions. [`unpack`] and [`extract_member`] open archives.
//!
//! This crate does not know nodes, keys, or how a process is isolated. It names no host, reads no environment
//! variable, and asks no clock.

mod apt;
mod archive;
mod deb822;
mod debian;
mod file;
mod git;
mod http;
mod machine;
mod origins;
mod root;

pub use apt::{
    AptError, BaseSpec, Fetcher, Verifier, Version, apt_sources_for, suite_origin, unix_seconds,
};
pub use archive::decompress;
pub use debian::{BuildBaseError, build_base};
pub use file::{ArchiveError, extract_member, unpack};
pub use git::{Checkout, Git, GitCheckout, GitError};
pub use http::{
    Download, Downloaded, Fresh, Http, HttpError, HttpOptions, Progress, Proxies, Quiet,
    Validators, redact, relay,
};
pub use machine::{MachineConfig, MachineError};
pub use origins::{OriginError, Origins, client_env};
