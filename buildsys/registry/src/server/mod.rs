//! A registry over a store. Source: OCI Distribution Specification 1.1; endpoints are called by its numbers
//! (`end-1` to `end-13`).
//!
//! There is no authentication: it is meant for loopback and private addresses. Blobs belong to the store, not
//! to a repository: a blob that any repository, build or pull has put into the store is there for all.

mod blob;
mod error;
mod list;
mod manifest;
mod path;
mod range;
mod records;
mod referrers;
mod rest;
mod routes;
mod serve;
mod session;
mod upload;

pub use records::{MANIFESTS, REFERRERS, TAGS};
pub use routes::router;
pub use serve::{ServeError, ServerOptions, serve};
