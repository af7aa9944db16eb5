//! What takes space, and making room.
//!
//! A collection keeps roots, and what was used or written lately; the rest goes. What a thing needs is found as a bundle
//! finds it: texts (results of actions, references, JSON among blobs) name digests by 64 hex digits, and what is named
//! by what is kept is kept. A word that happens to look like a digest keeps too much, never too little.

mod inventory;
mod mark;
mod sweep;
mod usage;
mod users;

use std::time::SystemTime;

pub use usage::Usage;
pub use users::Hold;

/// What a collection keeps.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// What was used or written since then is kept, as far as there is room.
    pub used_since: SystemTime,
    /// Bytes on the disk that results and all that belongs to them may take: what was used last stays. None: any number.
    pub most: Option<u64>,
    /// Spaces of references that are kept, however old, with what they name.
    pub roots: &'a [&'a str],
    /// Spaces of references that are kept, however old, without what they name.
    pub memories: &'a [&'a str],
    /// Spaces of references that keep nothing, and are kept as long as all that they name is.
    pub hints: &'a [&'a str],
    /// Purposes of scratch folders whose entries go one by one. Others are left alone.
    pub caches: &'a [&'a str],
}

/// How many things of one kind, and the bytes that they take on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Part {
    /// How many.
    pub count: u64,
    /// Bytes on the disk.
    pub bytes: u64,
}

impl Part {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Somebody uses the store. Told ten times a second.
    Waiting,
    /// Folders that are gone already, to everybody else: how many are removed, and of how many.
    Removing(usize, usize),
}

/// What a collection removed, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Results of actions.
    pub actions: Part,
    /// References.
    pub references: Part,
    /// Layers unpacked.
    pub snapshots: Part,
    /// Blobs.
    pub blobs: Part,
    /// Caches: entries of scratch folders, and what the scanner knew.
    pub caches: Part,
    /// Corrupt blobs.
    pub quarantine: Part,
    /// Bytes that roots alone keep, where there is a bound.
    pub rooted: Option<u64>,
}

impl Collected {
    /// Bytes on the disk of all kinds together.
    pub fn bytes(&self) -> u64 {
        let parts = [
            self.actions,
            self.references,
            self.snapshots,
            self.blobs,
            self.caches,
            self.quarantine,
        ];
        parts.iter().map(|part| part.bytes).sum()
    }
}
