//! Reading a folder of the user's as a tree: a build context, a local source.
//!
//! What is known of each file from the last time stands in a cache in the store, and a file whose size,
//! times, inode and mode are the same is not read again. The rule against races is git's (Documentation/
//! technical/racy-git.txt): a file that was changed so shortly before it was read that a change right after
//! it would carry the same time is not trusted, and is read again.

mod assemble;
mod cache;
mod file;
mod member;
mod queue;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_digest::{Sha256, TreeDigest};
use tbuild_store::StoreError;
use tbuild_tree::{Tree, TreeError, TreePath, entry_digest};

use crate::LocalStore;
use cache::{CacheFile, StatCache};

/// What a filter says of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the tree.
    Keep,
    /// It is not, nor is anything below it.
    Skip,
    /// A folder that is there only if something below it is kept (`.dockerignore` with `!` rules). For
    /// anything but a folder the same as `Skip`.
    Descend,
}

/// Which paths a tree takes: given a path and whether it is a folder. Called from several threads.
pub type Filter<'a> = dyn Fn(&TreePath, bool) -> Verdict + Sync + 'a;

/// Which permissions the entries of a tree have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modes {
    /// Those that the file system says.
    Kept,
    /// What git records of them (gitformat-index(5)): 0755 for folders and for files that their owner may execute, 0644
    /// for others. Two checkouts under two umasks are one tree.
    Git,
}

impl Modes {
    /// What becomes of the permission bits `mode` of a folder, or of anything else.
    fn of(self, mode: u32, folder: bool) -> u32 {
        match self {
            Self::Kept => mode & 0o7777,
            Self::Git if folder || mode & 0o100 != 0 => 0o755,
            Self::Git => 0o644,
        }
    }
}

/// What a scan did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScanStats {
    /// Regular files in the tree.
    pub files: u64,
    /// How many of them were read.
    pub hashed: u64,
    /// How many bytes that was.
    pub bytes_hashed: u64,
}

/// A folder as a tree.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Everything that the filter keeps, owned by root, of the canonical time; without an entry for the
    /// folder itself.
    pub tree: Arc<Tree>,
    /// The tree's digest.
    pub digest: TreeDigest,
    /// What it took.
    pub stats: ScanStats,
    /// The digest of each folder's content, by the index of its entry, sorted.
    folders: Vec<(u32, TreeDigest)>,
}

impl Scan {
    /// What [`Tree::digest_at`] says of `path`, without hashing a folder's content again.
    pub fn digest_at(&self, path: &TreePath) -> Option<TreeDigest> {
        if path.is_root() {
            return Some(self.digest);
        }
        let entries = self.tree.entries();
        let at = entries
            .binary_search_by(|entry| entry.path.cmp(path))
            .ok()?;
        let folder = self
            .folders
            .binary_search_by_key(&at, |(index, _)| *index as usize);
        match folder {
            Ok(folder) => Some(entry_digest(&entries[at], self.folders[folder].1)),
            Err(_) => self.tree.digest_at(path),
        }
    }
}

/// Why a folder cannot be read as a tree.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The file system said no.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A device: there is no content to take.
    #[error("{} is a {kind}, which cannot be part of a tree", path.display())]
    Special {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A file was written to each time it was read.
    #[error("{} keeps changing while it is read", .0.display())]
    Unstable(PathBuf),
    /// The file system listed a name twice.
    #[error("{} does not make a tree", path.display())]
    Tree {
        /// The scanned folder.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: TreeError,
    },
    /// The cache could not be kept.
    #[error("cannot keep the stat cache of {}", path.display())]
    Store {
        /// The scanned folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: StoreError,
    },
}

/// Reads the folder `root` as a tree: what `filter` keeps, with permissions as `modes` says; links as they are; sockets
/// left out; hard links as files of their own.
///
/// `filter_id` says which filter it is: verdicts are remembered under it, and `filter` is asked only about
/// paths that are new. `threads` is how many read at once, at least one.
///
/// A device among what is kept is an error, and so is a file that does not hold still.
pub fn scan(
    store: &LocalStore,
    root: &Path,
    filter_id: &Sha256,
    filter: &Filter<'_>,
    modes: Modes,
    threads: usize,
) -> Result<Scan, ScanError> {
    let root = root.canonicalize().map_err(|source| ScanError::Io {
        what: "find",
        path: root.to_owned(),
        source,
    })?;
    let kept = |source| ScanError::Store {
        path: root.clone(),
        source,
    };
    let cache = StatCache::of(store, &root, modes, filter_id);
    let known: CacheFile = cache.load().map_err(kept)?;
    let walked = walk::walk(&root, filter, modes, &known, threads.max(1))?;
    let assembled =
        assemble::assemble(walked, &known, filter_id).map_err(|source| ScanError::Tree {
            path: root.clone(),
            source,
        })?;
    if let Some(bytes) = &assembled.rewritten {
        cache.save(bytes, known.is_ours()).map_err(kept)?;
    }
    Ok(assembled.scan)
}
