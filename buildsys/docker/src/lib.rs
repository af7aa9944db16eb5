//! A Docker Engine, spoken to through bollard: images are loaded into it and looked at, and steps run in its
//! containers.
//!
//! bollard 0.21 sends requests without the version prefix that the Engine API has (its issue 736), so version
//! negotiation has no effect and the engine answers in its own latest version. What is used here has been the
//! same since version 1.24 of the API (Docker 1.12); answers are read with every field optional.
//!
//! This crate does not know how images are made: an archive is bytes to it.

mod archive;
mod engine;
mod error;
mod executor;

pub use engine::{DEFAULT_HOST, DockerEngine, Inspected, Loaded};
pub use error::DockerError;
pub use executor::{DockerExecutor, LABEL};
