//! Artifacts: files made by a command run in an image over sources and other artifacts.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_digest::TreeDigest;
use tbuild_exec::{Mount, MountSource};
use tbuild_graph::KeyManifest;
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};
use tbuild_sandbox::UpperContent;
use tbuild_store::Store as _;
use tbuild_tree::{Rootfs, Tree, TreePath};

use crate::content::{contents_at, store_layer};
use crate::network::Recorded;
use crate::run::{Run, locked, run_staged};
use crate::value::input;
use crate::world::blocking;
use crate::{ImageValue, LayerRef, Place, StepNetwork, TreeValue, World, listing};

/// Where an artifact's inputs are mounted, by name.
const INPUTS: &str = "/inputs";
/// Where an artifact writes.
const OUTPUTS: &str = "/outputs";
/// The store's space for trees kept as layers, by tree digest.
const TREE_LAYER: &str = "tree-layer";

/// An artifact. Its inputs: the image, then the trees in the order of `inputs`.
pub(crate) struct Artifact {
    pub world: Arc<World>,
    /// The names of the input trees.
    pub inputs: Vec<String>,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Paths below the output folder that must be there afterwards.
    pub outputs: Vec<String>,
    /// What network it sees.
    pub network: StepNetwork,
    /// What it is in its lock, where that is a recorded one.
    pub recorded: Recorded,
}

/// What an artifact records.
#[derive(Debug, Serialize, Deserialize)]
struct Made {
    layer: LayerRef,
    digest: TreeDigest,
    /// What it asked of the network and is locked since: lines for [`locked`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    requests: Option<Vec<String>>,
}

struct State {
    run: Run,
    trees: Vec<(String, Arc<TreeValue>)>,
}

impl Artifact {
    fn key(&self, inputs: &[Output]) -> Result<(KeyManifest, State), OpError> {
        let image = input::<ImageValue>(inputs, 0)?;
        let parent = Arc::new(image.state.clone());
        let mut run = Run::new(
            &self.world,
            parent,
            self.argv.clone(),
            BTreeMap::new(),
            None,
        )?
        .with_env(&self.env);
        run = if self.network == StepNetwork::Recorded {
            let traffic = self.recorded.traffic(&self.world)?;
            run.recorded(self.recorded.clone(), traffic)
        } else {
            run.with_network(self.network)
        };
        let mut manifest = run.manifest();
        "artifact/1".clone_into(&mut manifest.schema);
        let mut trees = Vec::new();
        for (at, name) in self.inputs.iter().enumerate() {
            let tree = input::<TreeValue>(inputs, at + 1)?;
            listing::keep(self.world.store.as_ref(), &tree.digest, &tree.tree)?;
            manifest = manifest.files(format!("input {name}"), tree.digest);
            trees.push((name.clone(), tree));
        }
        let manifest = run.sealed(manifest.list("outputs", &self.outputs));
        Ok((manifest, State { run, trees }))
    }
}

/// The layer that holds a tree: the tree's files as an executor can mount them, with nothing of this
/// machine's owners and times.
pub(crate) fn layer_of(world: &World, value: &TreeValue) -> Result<LayerRef, OpError> {
    if let Place::Layer(diff_id) = value.place
        && let Some(size) = world.store.blob_size(&diff_id.as_uncompressed_blob())?
        && world.index(&diff_id)?.tree().digest() == value.digest
    {
        return Ok(LayerRef { diff_id, size });
    }
    let name = value.digest.hex();
    let kept = world.store.reference(TREE_LAYER, &name)?;
    if let Some(layer) = kept.and_then(|bytes| serde_json::from_slice::<LayerRef>(&bytes).ok())
        && world.has_layer(&layer)?
    {
        return Ok(layer);
    }
    let layer = store_layer(world, &value.tree, contents_at(world, &value.place))?;
    let bytes = serde_json::to_vec(&layer).map_err(|error| OpError::internal(&error))?;
    world.store.set_reference(TREE_LAYER, &name, Some(&bytes))?;
    Ok(layer)
}

fn make(world: &World, cx: &Context, state: State, outputs: &[String]) -> Result<Made, OpError> {
    let mut mounts = Vec::new();
    for (name, value) in &state.trees {
        let folder = world
            .store
            .ensure_snapshot(&layer_of(world, value)?.diff_id)?;
        mounts.push(Mount {
            target: format!("{INPUTS}/{name}"),
            source: MountSource::Bind(folder),
            read_only: true,
        });
    }
    let result = world.store.stage()?;
    rustix::fs::chmod(result.upper(), rustix::fs::Mode::from_raw_mode(0o777))
        .map_err(|error| OpError::internal(&error))?;
    mounts.push(Mount {
        target: OUTPUTS.to_owned(),
        source: MountSource::Bind(result.upper().to_owned()),
        read_only: false,
    });
    // What it wrote elsewhere goes with the staging folder.
    let run = state.run.with_mounts(mounts);
    let requests = run_staged(world, cx, &run)?.requests;
    rustix::fs::chmod(result.upper(), rustix::fs::Mode::from_raw_mode(0o755))
        .map_err(|error| OpError::internal(&error))?;
    let captured = tbuild_sandbox::capture(result.upper(), &Rootfs::default())
        .map_err(|error| OpError::failed(&error))?;
    let tree = owned_by_root(captured.tree)?;
    for output in outputs {
        if tree.get(&TreePath::clean(output.as_bytes())).is_none() {
            let there: Vec<String> = tree
                .entries()
                .iter()
                .take(5)
                .map(|entry| entry.path.to_string())
                .collect();
            let there = if there.is_empty() {
                "nothing".to_owned()
            } else {
                there.join(", ")
            };
            return Err(OpError::failed_text(format!(
                "it did not write {OUTPUTS}/{output} (it wrote {there})"
            )));
        }
    }
    let digest = tree.digest();
    // The folder itself is no snapshot of that layer: its owners are those of whoever ran the command.
    let contents = UpperContent::new(result.upper()).map_err(|error| OpError::internal(&error))?;
    let layer = store_layer(world, &tree, contents)?;
    let requests = run.lock(world, cx, requests)?;
    Ok(Made {
        layer,
        digest,
        requests,
    })
}

/// The tree without its root entry, with every owner root: who ran the command is nobody's business.
fn owned_by_root(tree: Tree) -> Result<Tree, OpError> {
    let mut entries = tree.into_entries();
    entries.retain(|entry| !entry.path.is_root());
    for entry in &mut entries {
        (entry.uid, entry.gid) = (0, 0);
    }
    Tree::new(entries).map_err(|error| OpError::internal(&error))
}

#[async_trait]
impl Op for Artifact {
    fn title(&self) -> String {
        self.argv
            .last()
            .map_or_else(String::new, |line| line.trim().replace('\n', " "))
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let (manifest, state) = tokio::task::block_in_place(|| self.key(inputs))?;
        Ok(Prepared::Action(Work {
            manifest,
            impure: state.run.impure(),
            force: state.run.is_to_be_locked(),
            state: Box::new(state),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let state = state.downcast::<State>().map_err(|_| OpError::Internal {
            message: "an artifact's state is another's".to_owned(),
        })?;
        let (world, cx, outputs) = (Arc::clone(&self.world), cx.clone(), self.outputs.clone());
        let made = blocking(move || make(&world, &cx, *state, &outputs)).await?;
        serde_json::to_value(made).map_err(|error| OpError::internal(&error))
    }

    fn settled(&self, manifest: &KeyManifest, result: &serde_json::Value) -> Option<KeyManifest> {
        let requests = Made::deserialize(result).ok()?.requests?;
        Some(locked(manifest.clone(), requests))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(made) = Made::deserialize(result) else {
            return Ok(None);
        };
        if !self.world.has_layer(&made.layer)? {
            return Ok(None);
        }
        let world = Arc::clone(&self.world);
        let tree = tokio::task::block_in_place(|| {
            Ok::<_, OpError>(Arc::clone(world.index(&made.layer.diff_id)?.tree()))
        })?;
        Ok(Some(Output::new(TreeValue {
            tree,
            digest: made.digest,
            place: Place::Layer(made.layer.diff_id),
            scan: None,
        })))
    }
}
