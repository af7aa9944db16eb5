//! Merkle digests of trees, folder by folder.

use tbuild_digest::{ContentHash, Encoder, TreeDigest};

use crate::{Entry, Node, Tree, TreePath};

/// What a folder's digest says of one of its members. The path's last component only, so that a folder's
/// digest does not depend on where the folder lies.
fn member(encoder: &mut Encoder, entry: &Entry, folder: Option<TreeDigest>) {
    encoder.bytes(entry.path.name().unwrap_or_default());
    encoder.number(u64::from(entry.mode));
    encoder.number(u64::from(entry.uid));
    encoder.number(u64::from(entry.gid));
    encoder.tag(u8::from(entry.opaque));
    xattrs(encoder, entry);
    match &entry.node {
        Node::Directory => {
            encoder.tag(0);
            folder.hash_content(encoder);
        }
        Node::File { size, digest } => {
            encoder.tag(1);
            encoder.number(*size);
            digest.hash_content(encoder);
        }
        Node::Symlink { target } => {
            encoder.tag(2);
            encoder.bytes(target);
        }
        Node::Hardlink { target } => {
            encoder.tag(3);
            encoder.bytes(target.as_bytes());
        }
        Node::CharDevice { major, minor } => {
            encoder.tag(4);
            encoder.number(u64::from(*major));
            encoder.number(u64::from(*minor));
        }
        Node::BlockDevice { major, minor } => {
            encoder.tag(5);
            encoder.number(u64::from(*major));
            encoder.number(u64::from(*minor));
        }
        Node::Fifo => encoder.tag(6),
        Node::Whiteout => encoder.tag(7),
    }
}

impl Tree {
    /// The digest of the whole tree.
    pub fn digest(&self) -> TreeDigest {
        digest_of(self.entries(), &TreePath::root())
    }

    /// The digest of what lies at `path`: for a folder of its content, for anything else of the entry. The
    /// name that it has here does not count, its mode and owner do.
    pub fn digest_at(&self, path: &TreePath) -> Option<TreeDigest> {
        if path.is_root() {
            return Some(self.digest());
        }
        let entries = self.below(path);
        let first = entries.first().filter(|first| first.path == *path)?;
        let mut unnamed = first.clone();
        unnamed.path = TreePath::root();
        let mut encoder = Encoder::new();
        let folder = first.is_directory().then(|| digest_of(&entries[1..], path));
        member(&mut encoder, &unnamed, folder);
        Some(TreeDigest(encoder.finish()))
    }
}

/// The digest of a folder whose members are `members`: each with, where it is a folder, the digest of its own
/// content. Sorted by path, nothing below the members among them. What [`Tree::digest`] says of the same
/// folder, for those who keep the digests of unchanged folders.
pub fn folder_digest<'a>(
    members: impl IntoIterator<Item = (&'a Entry, Option<TreeDigest>)>,
) -> TreeDigest {
    let mut encoder = Encoder::new();
    for (entry, folder) in members {
        member(&mut encoder, entry, folder);
    }
    TreeDigest(encoder.finish())
}

/// What [`Tree::digest_at`] says of the folder `entry`, given the digest of its content.
pub fn entry_digest(entry: &Entry, folder: TreeDigest) -> TreeDigest {
    let mut unnamed = entry.clone();
    unnamed.path = TreePath::root();
    folder_digest([(&unnamed, Some(folder))])
}

/// A folder whose members are being read.
struct Open<'a> {
    folder: &'a TreePath,
    /// Its own entry, to be told to the folder above; none for the outermost.
    entry: Option<&'a Entry>,
    encoder: Encoder,
}

/// The digest of the folder `folder`, whose content is all of `entries`. Parents that a layer leaves out
/// count as absent: their members hang off the nearest folder above by their longer name.
///
/// One pass over the sorted entries with a stack of its own: trees come from foreign archives and may be deep.
fn digest_of(entries: &[Entry], folder: &TreePath) -> TreeDigest {
    let mut above: Vec<Open<'_>> = Vec::new();
    let mut open = Open {
        folder,
        entry: None,
        encoder: Encoder::new(),
    };
    for entry in entries {
        while !entry.path.lies_below(open.folder) {
            let Some(outer) = above.pop() else { break };
            open = close(open, outer);
        }
        let encoder = &mut open.encoder;
        if entry.path == *open.folder {
            own(encoder, entry);
            continue;
        }
        if entry.path.parent_bytes() != Some(open.folder.as_bytes()) {
            encoder.tag(8);
            encoder.bytes(entry.path.as_bytes());
        }
        if entry.is_directory() {
            let inner = Open {
                folder: &entry.path,
                entry: Some(entry),
                encoder: Encoder::new(),
            };
            above.push(std::mem::replace(&mut open, inner));
        } else {
            member(encoder, entry, None);
        }
    }
    while let Some(outer) = above.pop() {
        open = close(open, outer);
    }
    TreeDigest(open.encoder.finish())
}

/// Tells the folder `outer` of its member `inner`, which is complete.
fn close<'a>(inner: Open<'a>, mut outer: Open<'a>) -> Open<'a> {
    if let Some(entry) = inner.entry {
        member(
            &mut outer.encoder,
            entry,
            Some(TreeDigest(inner.encoder.finish())),
        );
    }
    outer
}

/// The folder's own entry: the root of a layer may carry one.
fn own(encoder: &mut Encoder, entry: &Entry) {
    encoder.tag(9);
    encoder.number(u64::from(entry.mode));
    encoder.number(u64::from(entry.uid));
    encoder.number(u64::from(entry.gid));
    if entry.opaque || !entry.xattrs.is_empty() {
        encoder.tag(10);
        encoder.tag(u8::from(entry.opaque));
        xattrs(encoder, entry);
    }
}

fn xattrs(encoder: &mut Encoder, entry: &Entry) {
    encoder.number(entry.xattrs.len() as u64);
    for (name, value) in &entry.xattrs {
        encoder.bytes(name);
        encoder.bytes(value);
    }
}
