//! File trees as values: entries, Merkle digests, and the merged view of stacked layers.
//!
//! A [`Tree`] is what a layer, a build context or an artifact's output looks like once it is read: a sorted
//! list of entries that name their contents by digest. This crate does not know files, stores, or tar.

mod entry;
mod merkle;
mod path;
mod rootfs;

pub use entry::{Entry, Node, SOURCE_DATE_EPOCH, Tree, TreeError, Xattrs};
pub use merkle::{entry_digest, folder_digest};
pub use path::TreePath;
pub use rootfs::{Resolved, Rootfs, RootfsError};

#[cfg(test)]
mod tests;
