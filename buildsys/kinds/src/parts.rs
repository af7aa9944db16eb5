//! Parts of trees and of stages: what mounts show.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_digest::TreeDigest;
use tbuild_realise::OpError;
use tbuild_store::Store as _;
use tbuild_tree::{Node, Rootfs, Tree, TreePath};

use crate::artifact::layer_of;
use crate::content::{Contents, origin_in_layers, store_layer};
use crate::kept::Question;
use crate::select::missing;
use crate::{StateValue, TreeValue, World, listing};

/// The store's space for what a part of layers is.
const PARTS: &str = "mounted";

/// What something is a part of.
#[derive(Clone)]
pub(crate) enum Whole {
    /// A context, a source, an artifact.
    Tree(Arc<TreeValue>),
    /// A stage or an image.
    State(Arc<StateValue>),
}

/// A part of something.
pub(crate) struct Part {
    whole: Whole,
    /// Which: without links.
    pub path: TreePath,
    /// Of its content.
    pub digest: TreeDigest,
}

/// Finds the part `source` of `whole`.
pub(crate) fn find(world: &World, whole: Whole, source: &str, what: &str) -> Result<Part, OpError> {
    let wanted = TreePath::clean(source.as_bytes());
    let (path, digest) = match &whole {
        Whole::Tree(value) => {
            let path = resolve(&value.tree, &wanted, source, what)?;
            let digest = if leads_out(&value.tree, &path) {
                // What a second name of a file outside holds, only that file's own entry says.
                below(&value.tree, &path)?.digest_at(&path)
            } else {
                value.digest_at(&path)
            };
            let digest = digest.unwrap_or(value.digest);
            if !listing::is_kept(world.store.as_ref(), &digest)? {
                let part = below(&value.tree, &path)?;
                listing::keep(world.store.as_ref(), &digest, &part)?;
            }
            (path, digest)
        }
        Whole::State(state) => {
            let question = Question::of_layers(PARTS, &state.layers).about(wanted.as_bytes());
            let (path, digest): (Vec<u8>, TreeDigest) = question.answer(world, || {
                let tree = flat(world, state)?;
                let path = resolve(&tree, &wanted, source, what)?;
                let digest = tree.digest_at(&path).unwrap_or_else(|| tree.digest());
                listing::keep(world.store.as_ref(), &digest, &below(&tree, &path)?)?;
                Ok((path.as_bytes().to_vec(), digest))
            })?;
            (TreePath::clean(&path), digest)
        }
    };
    Ok(Part {
        whole,
        path,
        digest,
    })
}

fn flat(world: &World, state: &StateValue) -> Result<Arc<Tree>, OpError> {
    let tree = world.rootfs(&state.layers)?.flatten();
    tree.map(Arc::new)
        .map_err(|error| OpError::internal(&error))
}

fn resolve(
    tree: &Arc<Tree>,
    wanted: &TreePath,
    source: &str,
    what: &str,
) -> Result<TreePath, OpError> {
    let view = Rootfs::new(vec![Arc::clone(tree)]);
    match view.resolve(wanted, true) {
        Ok(found) if found.entry.is_some() => Ok(found.path),
        _ => Err(missing(tree, source, what)),
    }
}

/// Whether something at `path` is a second name of a file elsewhere.
fn leads_out(tree: &Tree, path: &TreePath) -> bool {
    tree.below(path).iter().any(|entry| {
        matches!(&entry.node, Node::Hardlink { target } if target != path && !target.lies_below(path))
    })
}

/// What of a tree lies at `path`, under the same names. A second name of a file outside is a file of its own.
fn below(tree: &Tree, path: &TreePath) -> Result<Tree, OpError> {
    if path.is_root() {
        return Ok(tree.clone());
    }
    let mut entries = tree.below(path).to_vec();
    let mut firsts: HashMap<TreePath, TreePath> = HashMap::new();
    for entry in &mut entries {
        let Node::Hardlink { target } = &entry.node else {
            continue;
        };
        if target == path || target.lies_below(path) {
            continue;
        }
        if let Some(first) = firsts.get(target) {
            entry.node = Node::Hardlink {
                target: first.clone(),
            };
        } else if let Some(first) = tree.get(target) {
            firsts.insert(target.clone(), entry.path.clone());
            entry.node = first.node.clone();
        }
    }
    Tree::new(entries).map_err(|error| OpError::internal(&error))
}

impl Part {
    /// The files unpacked as layers, topmost first.
    pub fn layers(&self, world: &World) -> Result<Vec<PathBuf>, OpError> {
        match &self.whole {
            Whole::State(state) => world.snapshots(&state.layers),
            Whole::Tree(value) => {
                let layer = layer_of(world, &self.tree(value)?)?;
                Ok(vec![world.store.ensure_snapshot(&layer.diff_id)?])
            }
        }
    }

    /// The part of a tree, as a tree.
    fn tree(&self, value: &TreeValue) -> Result<TreeValue, OpError> {
        if self.path.is_root() {
            return Ok(value.clone());
        }
        let tree = below(&value.tree, &self.path)?;
        Ok(TreeValue {
            digest: tree.digest(),
            tree: Arc::new(tree),
            place: value.place.clone(),
            scan: None,
        })
    }

    /// Copies the files into a folder, under the names that they have in the whole.
    pub fn unpack(&self, world: &World, folder: &Path) -> Result<(), OpError> {
        let layer = match &self.whole {
            Whole::Tree(value) => layer_of(world, &self.tree(value)?)?.diff_id,
            Whole::State(state) => {
                let view = world.rootfs(&state.layers)?;
                let tree = below(&*flat(world, state)?, &self.path)?;
                let contents = Contents::found(world, |entry| match entry.node {
                    Node::File { size, .. } => {
                        origin_in_layers(world, &state.layers, &view, &entry.path, size).map(Some)
                    }
                    _ => Ok(None),
                });
                store_layer(world, &tree, contents)?.diff_id
            }
        };
        let blob = world.store.open_blob(&layer.as_uncompressed_blob())?;
        let blob = blob.ok_or_else(|| OpError::Internal {
            message: format!("layer {layer} is not in the store"),
        })?;
        tbuild_store_local::unpack_layer(std::io::BufReader::with_capacity(1 << 20, blob), folder)
            .map_err(|error| OpError::failed(&error))
    }
}
