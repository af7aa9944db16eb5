//! Layers that are known and not here: those of stages that only building needs, where a store was filled by a bundle
//! of finished things. Offline they count as built, by what their indexes say of them; with a network they are built.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_graph::NodeKind;
use tbuild_oci::LayerIndex;
use tbuild_realise::{OpError, Outcome, Output};
use tbuild_store::Store as _;

use crate::recipe::Nodes;
use crate::{ImageValue, IndexValue, LayerRef, Place, StateValue, TreeValue, World};

/// The store's space for layers that were left out, by the hex of their diff IDs.
pub const LEFT_OUT: &str = "left-out-layer";

/// Fields of manifests that name bytes which only building needs.
pub const BUILD_ONLY: [&str; 2] = ["package", "locked request"];

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    size: u64,
    /// The encoded index.
    index: BlobDigest,
}

/// What a bundle of finished things leaves out.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// The layers.
    pub layers: BTreeSet<BlobDigest>,
    /// The references that stand for them: spaces, names, values.
    pub references: Vec<(String, String, String)>,
}

impl LeftOut {
    /// The layers of `outcome` that nothing in use has: neither what is wanted, nor what effects take.
    pub fn of(world: &World, graph: &Nodes, outcome: &Outcome) -> Result<Self, OpError> {
        let outputs = outcome.outputs.iter();
        let mut all = BTreeMap::new();
        for (_, output) in outputs.clone() {
            all.extend(layers(world, output)?);
        }
        let mut left = Self::default();
        let used = in_use(graph);
        for (node, output) in outputs {
            if used.contains(&graph.get(*node).name) {
                for diff_id in layers(world, output)?.keys() {
                    all.remove(diff_id);
                }
            }
        }
        for (diff_id, size) in all {
            let index = world.index(&diff_id)?.encode();
            let kept = Kept {
                size,
                index: world.store.put_blob(&index)?,
            };
            let text = serde_json::to_string(&kept).map_err(|error| OpError::internal(&error))?;
            left.layers.insert(diff_id.as_uncompressed_blob());
            left.references
                .push((LEFT_OUT.to_owned(), diff_id.hex(), text));
        }
        Ok(left)
    }
}

/// The names of the nodes whose outputs are used: what effects take, what tools are taken from, and what nothing else
/// takes.
fn in_use(graph: &Nodes) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for (node, vertex) in graph.iter() {
        let waits = graph.waits_for(node);
        let names = waits.map(|input| graph.get(input).name.clone());
        let takes = matches!(vertex.kind, NodeKind::Target | NodeKind::Tool);
        if takes || vertex.kind.is_effect() {
            used.extend(names);
        } else {
            taken.extend(names);
        }
    }
    let last = graph.iter().map(|(_, vertex)| vertex.name.clone());
    used.extend(last.filter(|name| !taken.contains(name)));
    used
}

/// The layers that an output is made of, with their sizes.
fn layers(world: &World, output: &Output) -> Result<BTreeMap<DiffId, u64>, OpError> {
    let of = |state: &StateValue| -> Vec<LayerRef> { state.layers.clone() };
    let mut found = Vec::new();
    if let Some(state) = output.get::<StateValue>() {
        found.extend(of(&state));
    } else if let Some(image) = output.get::<ImageValue>() {
        found.extend(of(&image.state));
    } else if let Some(index) = output.get::<IndexValue>() {
        found.extend(index.images.iter().flat_map(|(_, image)| of(&image.state)));
    } else if let Some(tree) = output.get::<TreeValue>()
        && let Place::Layer(diff_id) = tree.place
    {
        let size = world.store.blob_size(&diff_id.as_uncompressed_blob())?;
        found.extend(size.map(|size| LayerRef { diff_id, size }));
    }
    let pairs = found.into_iter().map(|layer| (layer.diff_id, layer.size));
    Ok(pairs.collect())
}

impl World {
    fn kept(&self, diff_id: &DiffId) -> Result<Option<Kept>, OpError> {
        let kept = self.store.reference(LEFT_OUT, &diff_id.hex())?;
        Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Whether a layer that is not here counts as built.
    pub(crate) fn is_left_out(&self, layer: &LayerRef) -> Result<bool, OpError> {
        let kept = if self.offline {
            self.kept(&layer.diff_id)?
        } else {
            None
        };
        Ok(kept.is_some_and(|kept| kept.size == layer.size))
    }

    /// The index of a layer that is not here.
    pub(crate) fn left_out_index(&self, diff_id: &DiffId) -> Result<Option<LayerIndex>, OpError> {
        let Some(kept) = self.kept(diff_id)? else {
            return Ok(None);
        };
        let bytes = self.store.read_blob(&kept.index)?;
        Ok(bytes.and_then(|bytes| LayerIndex::decode(&bytes).ok()))
    }

    /// Refuses to build with a layer that is not here.
    pub(crate) fn refuse_left_out(&self, diff_id: &DiffId) -> Result<(), OpError> {
        let blob = diff_id.as_uncompressed_blob();
        if self.store.blob_size(&blob)?.is_some() || self.kept(diff_id)?.is_none() {
            return Ok(());
        }
        Err(OpError::Lock {
            message: format!(
                "layer {diff_id} is not in the store: the bundle that this store was filled by holds what is needed to \
                 run, not to build"
            ),
            hints: Vec::new(),
        }
        .hint("load a bundle made with --closure build, or build it with a connection"))
    }
}
