//! The store in a local folder: blobs, action results, snapshots, the stat cache.
//!
//! [`LocalStore`] implements the store trait over one folder that several processes share. From outside the
//! folder is an OCI image layout; what lies beside it is described in the `layout` module. Everything visible
//! in it is whole: files are written elsewhere and renamed into place, folders likewise, and locks belong to
//! open files, so that a process killed at any instant leaves nothing that a later one would have to repair.
//!
//! [`scan()`] reads a folder of the user's as a tree, at the price of one `stat` a file when nothing changed.
//! [`unpack_layer`] turns a layer's tar into a folder in overlayfs form.
//!
//! This crate does not know nodes, keys' contents, images or the network.

mod adopt;
mod blobs;
mod gc;
mod io;
mod layout;
mod names;
mod owners;
mod record;
mod recovery;
mod references;
mod remove;
mod scan;
mod session;
mod snapshots;
mod store;
mod unpack;

pub use gc::{Collected, Hold, Part, Policy, Stage, Usage};
pub use io::touch;
pub use layout::{MEMORY, VERSION, needs_memory};
pub use remove::remove_tree;
pub use scan::{Filter, Modes, Scan, ScanError, ScanStats, Verdict, scan};
pub use store::{Durability, LocalStore};
pub use unpack::{UnpackError, means_else, unpack_layer};
