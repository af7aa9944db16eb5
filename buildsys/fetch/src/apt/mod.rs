//! Debian's and Ubuntu's archives: signed releases, indexes, and which packages a base needs.

mod base;
mod date;
mod error;
mod packages;
mod relation;
mod release;
mod resolve;
mod suite;
mod verify;
mod version;

pub use base::{BaseSpec, Fetcher};
pub use date::unix_seconds;
pub use error::AptError;
pub use suite::{apt_sources_for, suite_origin};
pub use verify::Verifier;
pub use version::Version;

#[cfg(test)]
mod tests;
