//! The merged view of stacked layers, as a container would see it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Entry, Node, Tree, TreeError, TreePath};

/// How many links a path may lead through (Linux: `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

/// Layers stacked, lowest first.
#[derive(Debug, Clone, Default)]
pub struct Rootfs {
    layers: Vec<Arc<Tree>>,
}

/// Why a path does not resolve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootfsError {
    /// Links lead in circles.
    #[error("{0}: too many levels of symbolic links")]
    Loop(TreePath),
    /// Something on the way is no folder.
    #[error("{path}: {at} is not a directory")]
    NotADirectory {
        /// What was looked for.
        path: TreePath,
        /// What stands in the way.
        at: TreePath,
    },
}

/// Where a path leads once links are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path without links, as far as it exists; what does not exist is appended as written.
    pub path: TreePath,
    /// What is there, if anything.
    pub entry: Option<Entry>,
}

impl Rootfs {
    /// Stacks `layers`, lowest first.
    pub fn new(layers: Vec<Arc<Tree>>) -> Self {
        Self { layers }
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Arc<Tree>] {
        &self.layers
    }

    /// The entry at exactly `path`, links not followed. A folder that layers imply without naming it is
    /// there with mode 0755, owned by root.
    pub fn get(&self, path: &TreePath) -> Option<Entry> {
        if path.is_root() {
            let named = self.layers.iter().rev().find_map(|layer| layer.get(path));
            return Some(
                named
                    .cloned()
                    .unwrap_or_else(|| Entry::new(TreePath::root(), 0o755, Node::Directory)),
            );
        }
        let mut implied = false;
        for layer in self.layers.iter().rev() {
            if let Some(entry) = layer.get(path) {
                return match entry.node {
                    Node::Whiteout => {
                        implied.then(|| Entry::new(path.clone(), 0o755, Node::Directory))
                    }
                    _ if implied && !entry.is_directory() => {
                        Some(Entry::new(path.clone(), 0o755, Node::Directory))
                    }
                    _ => Some(entry.clone()),
                };
            }
            implied |= layer
                .below(path)
                .iter()
                .any(|entry| entry.node != Node::Whiteout);
            if hides_below(layer, path) {
                break;
            }
        }
        implied.then(|| Entry::new(path.clone(), 0o755, Node::Directory))
    }

    /// Follows links from the root of this view, as a process whose root it is would. The last component is
    /// followed only where `follow_last`.
    pub fn resolve(&self, path: &TreePath, follow_last: bool) -> Result<Resolved, RootfsError> {
        let mut todo: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        todo.reverse();
        let mut at = TreePath::root();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == b".." {
                at = at.parent().unwrap_or_default();
                continue;
            }
            if part == b"." {
                continue;
            }
            let next = at.join(&part);
            match self.get(&next) {
                Some(Entry {
                    node: Node::Symlink { target },
                    ..
                }) if follow_last || !todo.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(RootfsError::Loop(path.clone()));
                    }
                    if target.starts_with(b"/") {
                        at = TreePath::root();
                    }
                    todo.extend(
                        target
                            .rsplit(|byte| *byte == b'/')
                            .filter(|part| !part.is_empty())
                            .map(<[u8]>::to_vec),
                    );
                }
                Some(entry) if entry.is_directory() || todo.is_empty() => at = next,
                Some(_) => {
                    return Err(RootfsError::NotADirectory {
                        path: path.clone(),
                        at: next,
                    });
                }
                None => {
                    // Nothing below can exist: the rest is taken as written.
                    let rest = todo.iter().rev().fold(next, |at, part| at.join(part));
                    return Ok(Resolved {
                        path: TreePath::clean(rest.as_bytes()),
                        entry: None,
                    });
                }
            }
        }
        let entry = self.get(&at);
        Ok(Resolved { path: at, entry })
    }

    /// One tree that holds what the stack shows. Hard links keep pointing at their first name where that
    /// name is still the same file; otherwise they become files of their own.
    pub fn flatten(&self) -> Result<Tree, TreeError> {
        // Each with the layer that it comes from.
        let mut merged: BTreeMap<TreePath, (Entry, usize)> = BTreeMap::new();
        for (number, layer) in self.layers.iter().enumerate() {
            for entry in layer.entries() {
                let replaces = entry.node == Node::Whiteout
                    || entry.opaque
                    || merged
                        .get(&entry.path)
                        .is_some_and(|(old, _)| old.is_directory() != entry.is_directory());
                if replaces {
                    remove_below(&mut merged, &entry.path);
                }
                if entry.node == Node::Whiteout {
                    continue;
                }
                let mut entry = entry.clone();
                entry.opaque = false;
                merged.insert(entry.path.clone(), (entry, number));
            }
        }
        self.settle_links(&mut merged);
        Tree::new(merged.into_values().map(|(entry, _)| entry).collect())
    }

    /// Where the first name of hard links is gone or another file by now, the first of those left takes its
    /// place.
    fn settle_links(&self, merged: &mut BTreeMap<TreePath, (Entry, usize)>) {
        let mut firsts: BTreeMap<(usize, TreePath), TreePath> = BTreeMap::new();
        let mut settled: Vec<(TreePath, Node)> = Vec::new();
        for (path, (entry, number)) in merged.iter() {
            let Node::Hardlink { target } = &entry.node else {
                continue;
            };
            let still = merged.get(target).is_some_and(|(first, layer)| {
                layer == number && matches!(first.node, Node::File { .. })
            });
            if still {
                continue;
            }
            let key = (*number, target.clone());
            if let Some(first) = firsts.get(&key) {
                let target = first.clone();
                settled.push((path.clone(), Node::Hardlink { target }));
            } else {
                firsts.insert(key, path.clone());
                let first = self.layers.get(*number).and_then(|layer| layer.get(target));
                settled.extend(first.map(|first| (path.clone(), first.node.clone())));
            }
        }
        for (path, node) in settled {
            if let Some((entry, _)) = merged.get_mut(&path) {
                entry.node = node;
            }
        }
    }
}

/// Whether `layer` hides what lower layers hold at `path` through one of its ancestors.
fn hides_below(layer: &Tree, path: &TreePath) -> bool {
    // From the top: below what the layer does not hold, it hides nothing.
    let mut folder = TreePath::root();
    for part in path.components() {
        let held = layer.below(&folder);
        match held.first() {
            None => return false,
            Some(entry) if entry.path == folder && (entry.opaque || !entry.is_directory()) => {
                return true;
            }
            Some(_) => folder = folder.join(part),
        }
    }
    false
}

fn remove_below<T>(merged: &mut BTreeMap<TreePath, T>, path: &TreePath) {
    let gone: Vec<TreePath> = merged
        .range(path.clone()..)
        .map(|(at, _)| at)
        .take_while(|at| at.lies_below(path))
        .cloned()
        .collect();
    for at in gone {
        merged.remove(&at);
    }
}
