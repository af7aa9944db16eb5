//! Entries and trees.

use std::collections::BTreeMap;

use tbuild_digest::Sha256;

use crate::TreePath;

/// The time that every file of a layer carries unless a build says otherwise: 1980-01-01T00:00:00Z, in
/// seconds. Zip cannot say earlier, and HTTP dates can say it.
pub const SOURCE_DATE_EPOCH: i64 = 315_532_800;

/// Extended attributes: name to value.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// The SHA-256 of the content.
        digest: Sha256,
    },
    /// A symbolic link with the bytes it holds, never resolved.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// A second name of a regular file that comes earlier in the same tree.
    Hardlink {
        /// The first name.
        target: TreePath,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// Layers only: the name is gone (OCI image spec, "Whiteouts").
    Whiteout,
}

/// One name of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub path: TreePath,
    /// Permission bits, set-id and sticky bits: at most 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since the epoch. Part of a layer's bytes, never of a tree's digest.
    pub mtime: i64,
    /// Extended attributes.
    pub xattrs: Xattrs,
    /// Layers only: a folder that hides what lower layers hold in it (OCI image spec, "Opaque Whiteout").
    pub opaque: bool,
    /// What it is.
    pub node: Node,
}

impl Entry {
    /// An entry owned by root, of the canonical time, with no xattrs.
    pub fn new(path: TreePath, mode: u32, node: Node) -> Self {
        Self {
            path,
            mode,
            uid: 0,
            gid: 0,
            mtime: SOURCE_DATE_EPOCH,
            xattrs: Xattrs::new(),
            opaque: false,
            node,
        }
    }

    /// Whether it is a folder.
    pub fn is_directory(&self) -> bool {
        self.node == Node::Directory
    }
}

/// Why entries do not make a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// One path twice.
    #[error("path {0} appears twice")]
    Duplicate(TreePath),
    /// A hard link whose first name is no regular file of the tree.
    #[error("hard link {path} names {target}, which is no earlier regular file")]
    Hardlink {
        /// The link.
        path: TreePath,
        /// What it names.
        target: TreePath,
    },
}

/// A sorted list of entries. Parents come before what is in them; a parent may be missing (a layer need not
/// repeat what lies below it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    entries: Vec<Entry>,
}

impl Tree {
    /// Sorts `entries` and checks them.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        if !entries.is_sorted_by(|a, b| a.path < b.path) {
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
                return Err(TreeError::Duplicate(pair[0].path.clone()));
            }
        }
        let tree = Self { entries };
        for entry in &tree.entries {
            if let Node::Hardlink { target } = &entry.node {
                let first = tree
                    .get(target)
                    .filter(|first| matches!(first.node, Node::File { .. }));
                if first.is_none() || *target >= entry.path {
                    return Err(TreeError::Hardlink {
                        path: entry.path.clone(),
                        target: target.clone(),
                    });
                }
            }
        }
        Ok(tree)
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, owned.
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The entry at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()
            .map(|at| &self.entries[at])
    }

    /// `folder` itself, if it is there, and all that lies below it, in order.
    pub fn below<'a>(&'a self, folder: &'a TreePath) -> &'a [Entry] {
        let start = self.entries.partition_point(|entry| entry.path < *folder);
        let len = self.entries[start..].partition_point(|entry| entry.path.lies_below(folder));
        &self.entries[start..start + len]
    }

    /// The bytes of all regular files together.
    pub fn total_size(&self) -> u64 {
        self.entries
            .iter()
            .map(|entry| {
                if let Node::File { size, .. } = entry.node {
                    size
                } else {
                    0
                }
            })
            .sum()
    }
}
