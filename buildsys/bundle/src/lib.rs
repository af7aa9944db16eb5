//! What targets need, in one file: the records of actions, the blobs that they name, and references to those.
//!
//! ```text
//! a zstd frame of a tar (POSIX ustar, names in this order, each kind sorted):
//! bundle.json            what is in it: [`Manifest`]
//! blobs/sha256/<hex>     blobs
//! actions/<hex>          records (JSON), by action key
//! refs                   references: a JSON list of [space, name, value]
//! ```
//!
//! No time, owner or path of a machine is in it: the same records and blobs give the same bytes. What is loaded is
//! checked, blobs by their digests and records by their keys; that a record tells the truth about what an action made is
//! for whoever made the bundle to answer. This crate does not know targets, nodes or lockfiles.

mod error;
mod format;
mod load;
mod write;

#[cfg(test)]
mod tests;

pub use error::BundleError;
pub use format::Manifest;
pub use load::{Loaded, load};
pub use write::{Content, write};
