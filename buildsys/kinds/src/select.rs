//! Which entries a COPY takes, and what they are called in the image.
//!
//! Source: Dockerfile reference, "COPY": a folder is copied as its content, a file as itself; several sources
//! or a trailing slash make the destination a folder.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tbuild_digest::{ContentHash as _, Encoder, TreeDigest};
use tbuild_dockerfile::{Glob, has_wildcards};
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

use crate::facts::{Facts, Found};

/// What one COPY takes out of one tree.
pub(crate) struct Selection {
    /// The digest of all that is taken, in order: content, names, modes.
    pub digest: TreeDigest,
    roots: Vec<Root>,
    /// Whether the destination has to be a folder.
    many: bool,
    /// Whether one file is copied to a name.
    single_file: bool,
}

/// One source, as matched.
enum Root {
    /// The content of the folder at a path.
    Content(TreePath),
    /// A file or a link, and its name at the destination.
    Single(Box<Entry>, TreePath),
}

impl Selection {
    /// A copy of here-documents alone.
    pub(crate) fn nothing() -> Self {
        Self {
            digest: TreeDigest(Encoder::new().finish()),
            roots: Vec::new(),
            many: false,
            single_file: false,
        }
    }

    /// What is taken of `tree`, the one selected from, with the path that each has below the destination.
    fn picked(&self, tree: &Tree) -> Vec<(Entry, TreePath)> {
        let mut picked: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for root in &self.roots {
            match root {
                Root::Content(folder) => {
                    picked.extend(tree.below(folder).iter().filter_map(|inner| {
                        let rest = inner.path.below(folder).filter(|rest| !rest.is_root())?;
                        Some((rest, inner.clone()))
                    }));
                }
                Root::Single(entry, name) => {
                    picked.insert(name.clone(), Entry::clone(entry));
                }
            }
        }
        picked
            .into_iter()
            .map(|(rest, entry)| (entry, rest))
            .collect()
    }

    /// What is taken of `tree`, by its names there: for the listing.
    pub(crate) fn tree(&self, tree: &Tree) -> Result<Tree, OpError> {
        let mut entries: Vec<Entry> = self
            .picked(tree)
            .into_iter()
            .map(|(entry, _)| entry)
            .collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        // A second name whose first was not taken cannot stand in a tree; the listing says what it is without.
        entries.retain(|entry| !matches!(entry.node, Node::Hardlink { .. }));
        Tree::new(entries).map_err(|error| OpError::internal(&error))
    }
}

/// Takes `sources` (as written, with wildcards) out of `tree`. `digest_at` is the tree's own, or a quicker one
/// that says the same.
pub(crate) fn select(
    tree: &Arc<Tree>,
    digest_at: &dyn Fn(&TreePath) -> Option<TreeDigest>,
    sources: &[String],
    what: &str,
) -> Result<Selection, OpError> {
    let view = Rootfs::new(vec![Arc::clone(tree)]);
    let mut roots = Vec::new();
    let mut encoder = Encoder::new();
    for source in sources {
        let matched = matches(tree, &view, source);
        if matched.is_empty() {
            return Err(missing(tree, source, what));
        }
        for path in matched {
            let resolved = view
                .resolve(&path, true)
                .map_err(|error| OpError::failed(&error))?;
            let Some(entry) = resolved.entry else {
                return Err(missing(tree, source, what));
            };
            if entry.is_directory() {
                encoder.tag(0);
                digest_at(&resolved.path).hash_content(&mut encoder);
                roots.push(Root::Content(resolved.path));
            } else {
                let name = path.name().unwrap_or_default().to_vec();
                encoder.tag(1);
                encoder.bytes(&name);
                digest_at(&resolved.path).hash_content(&mut encoder);
                roots.push(Root::Single(Box::new(entry), TreePath::clean(&name)));
            }
        }
    }
    Ok(Selection {
        digest: TreeDigest(encoder.finish()),
        many: roots.len() > 1,
        single_file: matches!(roots.as_slice(), [Root::Single(..)]),
        roots,
    })
}

fn matches(tree: &Tree, view: &Rootfs, source: &str) -> Vec<TreePath> {
    let path = TreePath::clean(source.as_bytes());
    if !has_wildcards(source) {
        let there = path.is_root()
            || view
                .resolve(&path, true)
                .is_ok_and(|resolved| resolved.entry.is_some());
        return if there { vec![path] } else { Vec::new() };
    }
    let Ok(pattern) = Glob::new(source.trim_start_matches('/')) else {
        return Vec::new();
    };
    let entries = tree.entries().iter().filter(|entry| !entry.path.is_root());
    entries
        .filter(|entry| pattern.matches(entry.path.as_bytes()))
        .map(|entry| entry.path.clone())
        .collect()
}

pub(crate) fn missing(tree: &Tree, source: &str, what: &str) -> OpError {
    let error = OpError::Failed {
        message: format!("{source}: not found in {what}"),
        hints: Vec::new(),
    };
    let wanted = TreePath::clean(source.as_bytes());
    let name = wanted.name().unwrap_or_default();
    let similar = tree
        .entries()
        .iter()
        .find(|entry| entry.path.name() == Some(name));
    match similar {
        Some(entry) => error.hint(format!(
            "there is {}",
            String::from_utf8_lossy(entry.path.as_bytes())
        )),
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

/// For each file of a layer its path in what it is copied from, and its size in bytes.
pub(crate) type Sources = HashMap<TreePath, (TreePath, u64)>;

/// The layer that a COPY of `selection`, made of `tree`, writes, and where its files come from.
pub(crate) fn place(
    selection: &Selection,
    tree: &Tree,
    dest: &str,
    facts: &Facts,
    own: Ownership,
    inline: usize,
) -> Result<(Tree, Sources), OpError> {
    let into_folder = dest.ends_with('/') || dest.ends_with("/.") || facts.found == Found::Folder;
    let many = selection.many || inline > 1 || (inline > 0 && !selection.roots.is_empty());
    if many && !into_folder {
        return Err(OpError::usage(format!(
            "several files are copied, so the destination {dest} must be a folder and end with a /"
        )));
    }
    let root = facts.path();
    let to_name =
        (selection.single_file || (inline == 1 && selection.roots.is_empty())) && !into_folder;
    if !to_name && facts.found == Found::Other {
        return Err(OpError::failed_text(format!(
            "cannot copy a folder onto the file {root}"
        )));
    }
    let lead = if to_name {
        root.parent().unwrap_or_default()
    } else {
        root.clone()
    };
    let mut entries: BTreeMap<TreePath, Entry> = BTreeMap::new();
    for entry in facts.lead_to(&lead, own.owner.unwrap_or_default()) {
        entries.insert(entry.path.clone(), entry);
    }
    let mut sources = HashMap::new();
    // A hard link among what is copied stays one only if its first name is copied too.
    let picked = selection.picked(tree);
    let moved: HashMap<TreePath, TreePath> = picked
        .iter()
        .map(|(entry, rest)| (entry.path.clone(), root.join_path(rest)))
        .collect();
    for (mut entry, rest) in picked {
        let path = if to_name {
            root.clone()
        } else {
            root.join_path(&rest)
        };
        let source = std::mem::replace(&mut entry.path, path.clone());
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
                OpError::failed_text(format!(
                    "{source} is a second name of {target}, which is not copied"
                ))
            })?;
            entry.node = Node::Hardlink { target };
        }
        if let Node::File { size, .. } = entry.node {
            sources.insert(path.clone(), (source, size));
        }
        entries.insert(path, entry);
    }
    let tree =
        Tree::new(entries.into_values().collect()).map_err(|error| OpError::internal(&error))?;
    Ok((tree, sources))
}
