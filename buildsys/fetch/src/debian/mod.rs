//! Bases made of Debian packages: unpacked, configured in the sandbox, brought to a canonical state.

mod build;
mod clean;
mod deb;
mod error;
mod merged;

pub use build::build_base;
pub use error::BuildBaseError;
