//! Listings: what a tree held, kept by digest, so that `why` can name the file that changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tbuild_digest::TreeDigest;
use tbuild_store::{Store, StoreError};
use tbuild_tree::{Node, Tree};

/// The store's space for listings, by tree digest.
const LISTING: &str = "listing";

/// How a file differs between two listings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its path in the tree.
    pub path: String,
    /// What changed: `added`, `removed`, `content`, `mode 644 -> 755`, ...
    pub what: String,
}

/// Whether the listing of the tree `digest` is kept.
pub(crate) fn is_kept(store: &dyn Store, digest: &TreeDigest) -> Result<bool, StoreError> {
    store.has_reference(LISTING, &digest.hex())
}

/// Keeps the listing of `tree` if it is not kept yet.
pub(crate) fn keep(store: &dyn Store, digest: &TreeDigest, tree: &Tree) -> Result<(), StoreError> {
    if is_kept(store, digest)? {
        return Ok(());
    }
    let name = digest.hex();
    let mut text = String::with_capacity(tree.entries().len() * 96);
    for entry in tree.entries() {
        let path = String::from_utf8_lossy(entry.path.as_bytes());
        let _infallible = write!(text, "{:o} {}:{} ", entry.mode, entry.uid, entry.gid);
        let _infallible = match &entry.node {
            Node::File { digest, .. } => write!(text, "file {digest:?}"),
            Node::Symlink { target } => write!(
                text,
                "link {}",
                String::from_utf8_lossy(target).replace(' ', "\u{2423}")
            ),
            Node::Hardlink { target } => write!(
                text,
                "hardlink {}",
                target.to_string().replace(' ', "\u{2423}")
            ),
            Node::Directory => write!(text, "folder -"),
            Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
                write!(text, "device {major}:{minor}")
            }
            Node::Fifo => write!(text, "fifo -"),
            Node::Whiteout => write!(text, "whiteout -"),
        };
        let _infallible = writeln!(text, " {}", path.replace('\n', "\u{2424}"));
    }
    store.set_reference(LISTING, &name, Some(text.as_bytes()))
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    mode: String,
    owner: String,
    kind: String,
    content: String,
}

/// Reads a listing; none if it was not kept.
pub fn read(
    store: &dyn Store,
    digest: &TreeDigest,
) -> Result<Option<BTreeMap<String, Line>>, StoreError> {
    let Some(bytes) = store.reference(LISTING, &digest.hex())? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.splitn(5, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let parsed = Line {
            mode: word(),
            owner: word(),
            kind: word(),
            content: word(),
        };
        lines.insert(word(), parsed);
    }
    Ok(Some(lines))
}

/// The differences between two listings, by path.
pub fn compare(old: &BTreeMap<String, Line>, new: &BTreeMap<String, Line>) -> Vec<FileChange> {
    let mut changes = Vec::new();
    let mut add = |path: &String, what: String| {
        changes.push(FileChange {
            path: path.clone(),
            what,
        });
    };
    for (path, line) in new {
        match old.get(path) {
            None => add(path, "added".to_owned()),
            Some(before) if before.kind != line.kind => {
                add(path, format!("{} -> {}", before.kind, line.kind));
            }
            Some(before) if before.content != line.content => add(path, "content".to_owned()),
            Some(before) if before.mode != line.mode => {
                add(path, format!("mode {} -> {}", before.mode, line.mode));
            }
            Some(before) if before.owner != line.owner => {
                add(path, format!("owner {} -> {}", before.owner, line.owner));
            }
            Some(_) => {}
        }
    }
    for path in old.keys().filter(|path| !new.contains_key(*path)) {
        add(path, "removed".to_owned());
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}
