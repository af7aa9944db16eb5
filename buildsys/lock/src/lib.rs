//! The lockfile schema: sorted TOML under `lockfiles/`, one file a locked node.
//!
//! A lockfile says what was resolved (packages, a git revision, an image tag, a tool) so that the next build,
//! on another machine, takes the same bytes. It names no mirror: an origin is a logical name, and which host
//! serves it is the machine's own matter. The text of a lock is a function of its value, so writing twice
//! changes nothing and a review sees only what moved.
//!
//! This crate does not know files, the network, or how anything is resolved.

mod base;
mod day;
mod document;
mod error;
mod field;
mod lasting;
mod network;
mod packages;
mod source;
mod tool;

pub use base::{BaseLock, PackageLock, ReleaseLock};
pub use day::Day;
pub use document::{Kind, Lock, SCHEMA, file_name};
pub use error::LockError;
pub use field::{ArchivePath, FieldError};
pub use network::{NetworkLock, RequestLock, StepLock};
pub use packages::{Package, changes, package_of, packages};
pub use source::{GitLock, ImageLock, UrlLock};
pub use tool::{Location, ToolFileLock, ToolLock};

#[cfg(test)]
mod tests;
