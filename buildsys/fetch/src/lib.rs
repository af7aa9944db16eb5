//! The outside world as input: Debian packages, git, HTTP files, tools.

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

pub use apt::{AptError, BaseSpec, Fetcher, Verifier, Version, apt_sources_for, suite_origin};
pub use debian::{BuildBaseError, build_base};
pub use file::{ArchiveError, extract_member, unpack};
pub use git::{Git, GitCheckout, GitError};
pub use http::{Download, Downloaded, Http, HttpError, HttpOptions, Progress, Proxies, Quiet};
pub use machine::{MachineConfig, MachineError};
pub use origins::{OriginError, Origins, client_env};
