//! What a bundle looks like.

use serde::{Deserialize, Serialize};

/// The version of the format. Another one is refused.
pub(crate) const VERSION: u32 = 1;

/// The member that is first.
pub(crate) const MANIFEST: &str = "bundle.json";
/// The member with the references, which is last.
pub(crate) const REFERENCES: &str = "refs";
/// Before the hex digits of a blob's digest.
pub(crate) const BLOBS: &str = "blobs/sha256/";
/// Before the hex digits of an action's key.
pub(crate) const ACTIONS: &str = "actions/";

/// The most that a member takes that is read into memory: records with long lists of files are megabytes.
pub(crate) const LARGEST: u64 = 256 << 20;

/// What is in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub version: u32,
    /// What it is for, in its maker's words: names of targets.
    pub targets: Vec<String>,
    /// How many records there are.
    pub actions: u64,
    /// How many blobs there are.
    pub blobs: u64,
    /// How many bytes the blobs have.
    pub bytes: u64,
}

/// A reference: space, name, value as text.
pub(crate) type Reference = (String, String, String);
