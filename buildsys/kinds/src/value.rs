//! The outputs of ops.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, DiffId, TreeDigest};
use tbuild_dockerfile::{Platform, Scope};
use tbuild_fetch::BaseSpec;
use tbuild_oci::ImageConfig;
use tbuild_realise::{OpError, Output};
use tbuild_store_local::Scan;
use tbuild_tree::{Tree, TreePath};

/// A tree of files: of a source, a context, an artifact.
#[derive(Debug, Clone)]
pub struct TreeValue {
    /// The entries.
    pub tree: Arc<Tree>,
    /// Its digest.
    pub digest: TreeDigest,
    /// Where the contents are.
    pub place: Place,
    /// The scan that it came from whole, which knows the digests of its folders.
    pub scan: Option<Arc<Scan>>,
}

impl TreeValue {
    /// What [`Tree::digest_at`] says of `path`.
    pub(crate) fn digest_at(&self, path: &TreePath) -> Option<TreeDigest> {
        match &self.scan {
            Some(scan) => scan.digest_at(path),
            None => self.tree.digest_at(path),
        }
    }
}

/// Where the contents of a tree's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder of this machine, under the same names.
    Folder(PathBuf),
    /// In a layer of the store.
    Layer(DiffId),
}

/// A layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRef {
    /// Its diff ID.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size: u64,
}

/// The state of an image under construction: what a step starts from and ends in.
#[derive(Debug, Clone)]
pub struct StateValue {
    /// The layers, lowest first.
    pub layers: Vec<LayerRef>,
    /// The config so far; its diff IDs are filled in when the image is composed.
    pub config: ImageConfig,
    /// The variables of the stage; none in a base.
    pub scope: Option<Scope>,
    /// The packages that the lowest layer is made of, if it was made from packages: whose archive RUN may use.
    pub packages: Option<Arc<BaseSpec>>,
}

impl StateValue {
    /// What wrote each layer, lowest first, as the history tells it: shorter where that tells less.
    pub fn layer_names(&self) -> Vec<String> {
        let history = self.config.history.iter();
        history
            .filter(|entry| !entry.empty_layer)
            .map(|entry| entry.created_by.clone().unwrap_or_default())
            .collect()
    }
}

/// A finished image.
#[derive(Debug, Clone)]
pub struct ImageValue {
    /// The state that it was composed from.
    pub state: StateValue,
    /// The config's canonical bytes.
    pub config: Arc<[u8]>,
    /// The config's digest: what Docker calls the image ID.
    pub id: BlobDigest,
}

/// Images of several platforms that are one to whoever pulls it: an index.
#[derive(Debug, Clone)]
pub struct IndexValue {
    /// The images in the order of the index.
    pub images: Vec<(Platform, Arc<ImageValue>)>,
}

/// One file: a tool.
#[derive(Debug, Clone)]
pub struct FileValue {
    /// The file on this machine, executable.
    pub path: PathBuf,
    /// Its content.
    pub digest: BlobDigest,
}

/// A packaged chart.
#[derive(Debug, Clone)]
pub struct ChartValue {
    /// Its name, from Chart.yaml.
    pub name: String,
    /// Its version, from Chart.yaml.
    pub version: String,
    /// The .tgz.
    pub blob: BlobDigest,
    /// Bytes of the .tgz.
    pub size: u64,
}

/// An image in a registry.
#[derive(Debug, Clone)]
pub struct PushValue {
    /// `REGISTRY/REPOSITORY@sha256:...`: what a chart refers to.
    pub reference: String,
    /// The manifest's digest.
    pub manifest: BlobDigest,
}

/// A deployed release, or a finished task.
#[derive(Debug, Clone)]
pub struct ReleaseValue {
    /// The desired state that is in place.
    pub key: String,
}

/// The input at `at` as a `T`. Edges are made by this crate alone, so another type is a defect.
pub(crate) fn input<T: Send + Sync + 'static>(
    inputs: &[Output],
    at: usize,
) -> Result<Arc<T>, OpError> {
    inputs
        .get(at)
        .and_then(Output::get)
        .ok_or_else(|| OpError::Internal {
            message: format!(
                "input {at} of a node is not a {}",
                std::any::type_name::<T>()
            ),
        })
}
