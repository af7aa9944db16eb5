//! Which entries a COPY takes, and what they are called in the image.
//!
//! Source: Dockerfile reference, "COPY": a folder is copied as its content, a file as itself; several sources
//! or a trailing slash make the destination a folder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tbuild_digest::{Encoder, TreeDigest, ContentHash as _};
use tbuild_dockerfile::{Glob, has_wildcards};
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

use crate::facts::{Facts, Found};

/// What one COPY takes out of one tree.
pub(crate) struct Selection {
    /// The digest of all that is taken, in order: content, names, modes.
    pub digest: TreeDigest,
    /// Entries of the source, with the path each has below the destination; an empty one is the destination
    /// itself (a single file).
    picked: Vec<(Entry, TreePath)>,
    /// Whether the destination has to be a folder.
    many: bool,
    /// Whether one file is copied to a name.
    single_file: bool,
}

impl Selection {
    /// A copy of here-documents alone.
    pub(crate) fn nothing() -> Self {
        Self { digest: TreeDigest(Encoder::new().finish()), picked: Vec::new(), many: false, single_file: false }
    }

    /// What is taken, by its names in the source: for the listing.
    pub(crate) fn tree(&self) -> Result<Tree, OpError> {
        let mut entries: Vec<Entry> = self.picked.iter().map(|(entry, _)| entry.clone()).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        // A second name whose first was not taken cannot stand in a tree; the listing says what it is without.
        entries.retain(|entry| !matches!(entry.node, Node::Hardlink { .. }));
        Tree::new(entries).map_err(|error| OpError::internal(&error))
    }
}

/// Takes `sources` (as written, with wildcards) out of `tree`.
pub(crate) fn select(tree: &Arc<Tree>, sources: &[String], what: &str) -> Result<Selection, OpError> {
    let view = Rootfs::new(vec![Arc::clone(tree)]);
    let mut picked: BTreeMap<TreePath, (Entry, TreePath)> = BTreeMap::new();
    let mut encoder = Encoder::new();
    let (mut roots, mut files) = (0, 0);
    for source in sources {
        let matched = matches(tree, &view, source);
        if matched.is_empty() {
            return Err(missing(tree, source, what));
        }
        for path in matched {
            roots += 1;
            let resolved = view.resolve(&path, true).map_err(|error| OpError::failed(&error))?;
            let Some(entry) = resolved.entry else {
                return Err(missing(tree, source, what));
            };
            if entry.is_directory() {
                let digest = tree.digest_at(&resolved.path);
                encoder.tag(0);
                digest.hash_content(&mut encoder);
                for inner in tree.below(&resolved.path) {
                    if let Some(rest) = inner.path.below(&resolved.path).filter(|rest| !rest.is_root()) {
                        picked.insert(rest.clone(), (inner.clone(), rest));
                    }
                }
            } else {
                files += 1;
                let name = path.name().unwrap_or_default().to_vec();
                encoder.tag(1);
                encoder.bytes(&name);
                tree.digest_at(&resolved.path).hash_content(&mut encoder);
                let name = TreePath::clean(&name);
                picked.insert(name.clone(), (entry, name));
            }
        }
    }
    Ok(Selection {
        digest: TreeDigest(encoder.finish()),
        picked: picked.into_values().collect(),
        many: roots > 1,
        single_file: roots == 1 && files == 1,
    })
}

fn matches(tree: &Tree, view: &Rootfs, source: &str) -> Vec<TreePath> {
    let path = TreePath::clean(source.as_bytes());
    if !has_wildcards(source) {
        let there = path.is_root() || view.resolve(&path, true).is_ok_and(|resolved| resolved.entry.is_some());
        return if there { vec![path] } else { Vec::new() };
    }
    let Ok(pattern) = Glob::new(source.trim_start_matches('/')) else { return Vec::new() };
    let entries = tree.entries().iter().filter(|entry| !entry.path.is_root());
    entries
        .filter(|entry| pattern.matches(entry.path.as_bytes()))
        .map(|entry| entry.path.clone())
        .collect()
}

fn missing(tree: &Tree, source: &str, what: &str) -> OpError {
    let error = OpError::Failed { message: format!("{source}: not found in {what}"), hints: Vec::new() };
    let wanted = TreePath::clean(source.as_bytes());
    let name = wanted.name().unwrap_or_default();
    let similar = tree.entries().iter().find(|entry| entry.path.name() == Some(name));
    match similar {
        Some(entry) => error.hint(format!("there is {}", String::from_utf8_lossy(entry.path.as_bytes()))),
        None => error.hint("is it left out by .dockerignore, or by `exclude` in tbuild.toml?"),
    }
}

/// Owner and mode that a COPY asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ownership {
    /// User and group of everything copied; none keeps what each has, which for a build context is root.
    pub owner: Option<(u32, u32)>,
    /// The mode of everything copied; none keeps what each has.
    pub mode: Option<u32>,
}

/// The layer that a COPY writes, and for each of its files the path in the source.
pub(crate) fn place(
    selection: Selection,
    dest: &str,
    facts: &Facts,
    own: Ownership,
    inline: usize,
) -> Result<(Tree, HashMap<TreePath, Entry>), OpError> {
    let into_folder = dest.ends_with('/') || dest.ends_with("/.") || facts.found == Found::Folder;
    let many = selection.many || inline > 1 || (inline > 0 && !selection.picked.is_empty());
    if many && !into_folder {
        return Err(OpError::usage(format!(
            "several files are copied, so the destination {dest} must be a folder and end with a /"
        )));
    }
    let root = facts.path();
    let to_name = (selection.single_file || (inline == 1 && selection.picked.is_empty())) && !into_folder;
    if !to_name && facts.found == Found::Other {
        return Err(OpError::failed_text(format!("cannot copy a folder onto the file {root}")));
    }
    let lead = if to_name { root.parent().unwrap_or_default() } else { root.clone() };
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for entry in facts.lead_to(&lead, own.owner.unwrap_or_default()) {
        entries.insert(entry.path.clone(), entry);
    }
    let mut sources = HashMap::new();
    // A hard link among what is copied stays one only if its first name is copied too.
    let moved: HashMap<TreePath, TreePath> =
        selection.picked.iter().map(|(entry, rest)| (entry.path.clone(), root.join_path(rest))).collect();
    for (source, rest) in selection.picked {
        let path = if to_name { root.clone() } else { root.join_path(&rest) };
        let mut entry = source.clone();
        entry.path = path.clone();
        entry.mtime = tbuild_tree::SOURCE_DATE_EPOCH;
        entry.opaque = false;
        if let Some(owner) = own.owner {
            (entry.uid, entry.gid) = owner;
        }
        if let (Some(mode), false) = (own.mode, matches!(entry.node, Node::Symlink { .. })) {
            entry.mode = mode;
        }
        if let Node::Hardlink { target } = &entry.node {
            let target = moved.get(target).cloned().ok_or_else(|| {
                OpError::failed_text(format!("{} is a second name of {target}, which is not copied", source.path))
            })?;
            entry.node = Node::Hardlink { target };
        }
        if matches!(entry.node, Node::File { .. }) {
            sources.insert(path.clone(), source);
        }
        entries.insert(path, entry);
    }
    let tree = Tree::new(entries.into_values().collect()).map_err(|error| OpError::internal(&error))?;
    Ok((tree, sources))
}
