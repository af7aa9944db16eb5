//! Which entries a COPY takes, and what they are called below the destination.
//!
//! Source: Dockerfile reference, "COPY": a folder is copied as its content, a file as itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use tbuild_digest::{ContentHash as _, Encoder, TreeDigest};
use tbuild_dockerfile::{FolderMatches, Glob, IgnoreRules, PathSource, has_wildcards};
use tbuild_realise::OpError;
use tbuild_tree::{Entry, Node, Rootfs, Tree, TreePath};

/// What one COPY takes out of one tree.
pub(crate) struct Selection {
    /// The digest of all that is taken, in order: content, names, modes.
    pub digest: TreeDigest,
    /// What each source gave, in order.
    pub roots: Vec<Vec<Root>>,
    /// Folders below the destination that are copied only because something in them is: where one is there
    /// already, its owner stays.
    pub led: Vec<TreePath>,
}

/// One match of a source.
pub(crate) enum Root {
    /// The content of the folder at a path.
    Content(TreePath),
    /// A part of the content of a folder.
    Part(Vec<Picked>),
    /// A file or a link, and its name at the destination.
    Single(Box<Entry>, TreePath),
}

/// One entry of a part.
pub(crate) struct Picked {
    /// The entry, as it stands in the tree.
    pub entry: Entry,
    /// Its path below the destination.
    pub rest: TreePath,
    /// Whether it is a folder that is there for what is in it.
    pub led: bool,
}

impl Selection {
    /// What is taken of `tree`, by its names there: for the listing.
    pub(crate) fn tree(&self, tree: &Tree) -> Result<Tree, OpError> {
        let mut taken: BTreeMap<TreePath, Entry> = BTreeMap::new();
        for root in self.roots.iter().flatten() {
            match root {
                Root::Content(folder) => {
                    let inner = tree.below(folder).iter();
                    let inner = inner.filter(|inner| inner.path != *folder);
                    taken.extend(inner.map(|inner| (inner.path.clone(), inner.clone())));
                }
                Root::Part(part) => {
                    let entries = part.iter().map(|picked| picked.entry.clone());
                    taken.extend(entries.map(|entry| (entry.path.clone(), entry)));
                }
                Root::Single(entry, _) => {
                    taken.insert(entry.path.clone(), Entry::clone(entry));
                }
            }
        }
        // A second name whose first was not taken cannot stand in a tree; the listing says what it is without.
        taken.retain(|_, entry| !matches!(entry.node, Node::Hardlink { .. }));
        Tree::new(taken.into_values().collect()).map_err(|error| OpError::internal(&error))
    }
}

/// Takes `sources` out of `tree`, less what `exclude` matches. `digest_at` is the tree's own, or a quicker one
/// that says the same.
pub(crate) fn select(
    tree: &Arc<Tree>,
    digest_at: &dyn Fn(&TreePath) -> Option<TreeDigest>,
    sources: &[&PathSource],
    exclude: &[String],
    what: &str,
) -> Result<Selection, OpError> {
    let view = Rootfs::new(vec![Arc::clone(tree)]);
    let exclude = patterns(exclude)?;
    let mut roots = Vec::new();
    let mut led = Vec::new();
    let mut encoder = Encoder::new();
    for source in sources {
        let include = source.below.as_ref().map(|below| patterns([below]));
        let include = include.transpose()?;
        let mut found = Vec::new();
        for path in matches(tree, &view, &source.path, what)? {
            let resolved = view
                .resolve(&path, true)
                .map_err(|error| OpError::failed(&error))?;
            let Some(entry) = resolved.entry else {
                return Err(missing(tree, &source.path, what));
            };
            if !entry.is_directory() {
                let name = path.name().unwrap_or_default().to_vec();
                encoder.tag(1);
                encoder.bytes(&name);
                digest_at(&resolved.path).hash_content(&mut encoder);
                if let Node::Hardlink { target } = &entry.node {
                    digest_at(target).hash_content(&mut encoder);
                }
                found.push(Root::Single(Box::new(entry), TreePath::clean(&name)));
                continue;
            }
            if include.is_none() && exclude.is_empty() {
                encoder.tag(0);
                digest_at(&resolved.path).hash_content(&mut encoder);
                outer_links(tree, &resolved.path, digest_at, &mut encoder);
                found.push(Root::Content(resolved.path));
                continue;
            }
            let part = part(tree, &resolved.path, include.as_ref(), &exclude);
            if part.is_empty() && include.is_some() && source.is_required() {
                let whole = path.join(source.below.as_deref().unwrap_or_default().as_bytes());
                return Err(missing(tree, &whole.to_string(), what));
            }
            encoder.tag(2);
            digest_of(&part)?.hash_content(&mut encoder);
            outer_links(tree, &resolved.path, digest_at, &mut encoder);
            let folders = part.iter().filter(|picked| picked.led);
            led.extend(folders.map(|picked| picked.rest.clone()));
            found.push(Root::Part(part));
        }
        roots.push(found);
    }
    Ok(Selection {
        digest: TreeDigest(encoder.finish()),
        roots,
        led,
    })
}

/// What the files hold of which `folder` has only second names: a folder's digest does not say.
fn outer_links(
    tree: &Tree,
    folder: &TreePath,
    digest_at: &dyn Fn(&TreePath) -> Option<TreeDigest>,
    encoder: &mut Encoder,
) {
    for entry in tree.below(folder) {
        if let Node::Hardlink { target } = &entry.node
            && !target.lies_below(folder)
        {
            digest_at(target).hash_content(encoder);
        }
    }
}

fn patterns(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<IgnoreRules, OpError> {
    // Unlike in .dockerignore a leading slash stays: what is matched never has one.
    let patterns: Vec<String> = patterns
        .into_iter()
        .map(|pattern| pattern.as_ref().to_owned())
        .filter(|pattern| !pattern.trim().trim_start_matches('!').starts_with('/'))
        .collect();
    IgnoreRules::from_patterns(&patterns).map_err(|error| OpError::usage(error.to_string()))
}

/// The digest of a part, whose entries may come from anywhere: content, names, modes, which folders are led.
fn digest_of(part: &[Picked]) -> Result<TreeDigest, OpError> {
    let entries = part.iter().map(|picked| {
        let mut entry = picked.entry.clone();
        entry.path = picked.rest.clone();
        // What it links to is named by where it lies in the source.
        if let Node::Hardlink { target } = &entry.node {
            entry.node = Node::Symlink {
                target: target.as_bytes().to_vec(),
            };
        }
        entry
    });
    let tree = Tree::new(entries.collect()).map_err(|error| OpError::internal(&error))?;
    let mut encoder = Encoder::new();
    tree.digest().hash_content(&mut encoder);
    for picked in part.iter().filter(|picked| picked.led) {
        encoder.bytes(picked.rest.as_bytes());
    }
    for picked in part {
        if matches!(picked.entry.node, Node::Hardlink { .. }) {
            encoder.bytes(picked.rest.as_bytes());
        }
    }
    Ok(TreeDigest(encoder.finish()))
}

/// A folder on the way to what is looked at.
struct Open<'a> {
    entry: &'a Entry,
    included: FolderMatches,
    excluded: FolderMatches,
    taken: bool,
}

/// The content of `folder` that `include` matches, if there is one, and `exclude` does not; folders that match
/// only by what is in them come along.
fn part(
    tree: &Tree,
    folder: &TreePath,
    include: Option<&IgnoreRules>,
    exclude: &IgnoreRules,
) -> Vec<Picked> {
    let mut picked = Vec::new();
    let mut above: Vec<Open<'_>> = Vec::new();
    for entry in tree.below(folder) {
        let Some(rest) = entry.path.below(folder).filter(|rest| !rest.is_root()) else {
            continue;
        };
        while above
            .last()
            .is_some_and(|open| !entry.path.lies_below(&open.entry.path))
        {
            above.pop();
        }
        let none = FolderMatches::default();
        let (included, excluded) = above
            .last()
            .map_or((&none, &none), |open| (&open.included, &open.excluded));
        let (wanted, included) = include.map_or((true, none.clone()), |rules| {
            rules.matches_in(included, rest.as_bytes())
        });
        let (unwanted, excluded) = exclude.matches_in(excluded, rest.as_bytes());
        let taken = wanted && !unwanted;
        if taken {
            for open in above.iter_mut().filter(|open| !open.taken) {
                open.taken = true;
                picked.extend(open.entry.path.below(folder).map(|rest| Picked {
                    entry: open.entry.clone(),
                    rest,
                    led: true,
                }));
            }
            picked.push(Picked {
                entry: entry.clone(),
                rest,
                led: false,
            });
        }
        if entry.is_directory() {
            above.push(Open {
                entry,
                included,
                excluded,
                taken,
            });
        }
    }
    picked
}

/// What a source matches: itself, or by wildcards all that fits, folders as a whole.
fn matches(tree: &Tree, view: &Rootfs, source: &str, what: &str) -> Result<Vec<TreePath>, OpError> {
    let path = TreePath::clean(source.as_bytes());
    if !has_wildcards(source) {
        let there = path.is_root()
            || view
                .resolve(&path, true)
                .is_ok_and(|resolved| resolved.entry.is_some());
        return if there {
            Ok(vec![path])
        } else {
            Err(missing(tree, source, what))
        };
    }
    // Links are followed up to the first wildcard, and not in what it stands for.
    let parts: Vec<&str> = source.split('/').filter(|part| !part.is_empty()).collect();
    let plain = parts.iter().take_while(|part| !has_wildcards(part)).count();
    let fixed = TreePath::clean(parts[..plain].join("/").as_bytes());
    let base = view
        .resolve(&fixed, true)
        .map_err(|error| OpError::failed(&error))?;
    if !base.entry.as_ref().is_some_and(Entry::is_directory) {
        return Err(missing(tree, &fixed.to_string(), what));
    }
    let pattern =
        Glob::new(&parts[plain..].join("/")).map_err(|error| OpError::usage(error.to_string()))?;
    let mut found: Vec<TreePath> = Vec::new();
    for entry in tree.below(&base.path) {
        let Some(rest) = entry.path.below(&base.path).filter(|rest| !rest.is_root()) else {
            continue;
        };
        let inside = |last: &TreePath| entry.path.lies_below(last);
        if !found.last().is_some_and(inside) && pattern.matches(rest.as_bytes()) {
            found.push(entry.path.clone());
        }
    }
    Ok(found)
}

pub(crate) fn missing(tree: &Tree, source: &str, what: &str) -> OpError {
    let error = OpError::Failed {
        message: format!("{source}: not found in {what}"),
        hints: Vec::new(),
    };
    let wanted = TreePath::clean(source.as_bytes());
    if let Some(entry) = tree.get(&wanted)
        && let Node::Symlink { target } = &entry.node
    {
        let target = String::from_utf8_lossy(target);
        return error.hint(format!("it is a link to {target}, which is not there"));
    }
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
        None if tree.entries().iter().all(Entry::is_directory) => error.hint(
            "there is no file in it: is that the folder, and are its git submodules checked out \
             (`git submodule update --init`)?",
        ),
        None => error.hint("is it left out by .dockerignore, or by `exclude` in tbuild.toml?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(entries: Vec<Entry>) -> Vec<String> {
        let tree = Tree::new(entries).expect("a tree");
        match missing(&tree, "/deps/app/go.mod", "the source") {
            OpError::Failed { hints, .. } => hints,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_empty_folder_may_be_a_submodule() {
        let deps = |name: &[u8], node| Entry::new(TreePath::clean(name), 0o755, node);
        let found = hints(vec![deps(b"deps", Node::Directory)]);
        assert!(found[0].contains("git submodule update"), "{found:?}");
        let target = b"..".to_vec();
        let found = hints(vec![deps(b"link", Node::Symlink { target })]);
        assert!(found[0].contains(".dockerignore"), "{found:?}");
    }
}
