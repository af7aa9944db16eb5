//! What `diff` and `verify` compare: an image of the store, of an archive or a registry; a folder; a tar.
//!
//! Layers of archives and registries are kept in the store, as those of any image: compared again, they are not
//! unpacked again, and their contents are read from there, never as a whole.

mod archive;
mod container;
mod folder;
mod stored;

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tbuild_compare::Layer;
use tbuild_digest::DiffId;
use tbuild_oci::{ImageConfig, Member, read_layer};
use tbuild_realise::{OpError, Output};
use tbuild_store::{BlobReader, Store as _};
use tbuild_tree::{Entry, Node, Tree, TreePath};

use crate::content::in_folder;
use crate::{Built, ChartValue, LayerRef, StateValue, TreeValue, World};

pub use archive::from_path;
pub use stored::{from_id, from_reference};

/// One side of a comparison.
pub struct Operand {
    world: Arc<World>,
    /// The config's digest, if it is an image.
    pub id: Option<String>,
    config: Option<Value>,
    manifest: Option<Value>,
    layers: Vec<(Layer, Held)>,
}

/// Where a layer's contents are.
enum Held {
    /// In the store, as a tar.
    Store(DiffId),
    /// In a folder of this machine.
    Folder(PathBuf),
}

impl Operand {
    fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            id: None,
            config: None,
            manifest: None,
            layers: Vec::new(),
        }
    }

    /// What a realised node came to; none for what holds no files.
    pub fn from_output(world: &Arc<World>, output: &Output) -> Result<Option<Self>, OpError> {
        if let Some(built) = Built::of(output) {
            let image = built.here(world).ok_or_else(|| {
                let machine = world.machine_platform();
                OpError::usage(format!(
                    "none of its images is for {machine}, as this machine is"
                ))
            })?;
            let layers: Vec<DiffId> = diff_ids(&image.state.layers);
            return Self::image(world, &image.config, &layers).map(Some);
        }
        if let Some(state) = output.get::<StateValue>() {
            let mut config = state.config.clone();
            config.rootfs.diff_ids = diff_ids(&state.layers);
            let layers = config.rootfs.diff_ids.clone();
            return Self::image(world, &config.to_bytes(), &layers).map(Some);
        }
        if let Some(tree) = output.get::<TreeValue>() {
            let mut operand = Self::new(world);
            operand.push(crate::artifact::layer_of(world, &tree)?.diff_id, None)?;
            return Ok(Some(operand));
        }
        match output.get::<ChartValue>() {
            Some(chart) => Self::from_blob(world, chart.blob).map(Some),
            None => Ok(None),
        }
    }

    /// One layer of the store.
    pub fn from_layer(world: &Arc<World>, layer: DiffId) -> Result<Self, OpError> {
        let mut operand = Self::new(world);
        operand.push(layer, None)?;
        Ok(operand)
    }

    /// A blob that is a tar, compressed or not.
    pub fn from_blob(
        world: &Arc<World>,
        digest: tbuild_digest::BlobDigest,
    ) -> Result<Self, OpError> {
        let reader = world
            .store
            .open_blob(&digest)?
            .ok_or_else(|| OpError::usage(format!("{digest} is not in the store")))?;
        archive::flat(world, reader, &digest.to_string())
    }

    /// An image whose layers are in the store.
    pub(crate) fn image(
        world: &Arc<World>,
        config: &[u8],
        layers: &[DiffId],
    ) -> Result<Self, OpError> {
        let mut operand = Self::new(world);
        operand.id = Some(tbuild_digest::BlobDigest::of(config).to_string());
        let document = serde_json::from_slice(config).map_err(|error| OpError::failed(&error))?;
        operand.config = Some(document);
        let parsed = ImageConfig::from_bytes(config).map_err(|error| OpError::failed(&error))?;
        let steps: Vec<Option<String>> = parsed
            .history
            .iter()
            .filter(|entry| !entry.empty_layer)
            .map(|entry| entry.created_by.clone())
            .collect();
        // A history that does not fit says nothing of which step wrote which layer.
        let fits = steps.len() == layers.len();
        for (at, layer) in layers.iter().enumerate() {
            let step = steps.get(at).cloned().flatten().filter(|_| fits);
            operand.push(*layer, step)?;
        }
        Ok(operand)
    }

    fn push(&mut self, diff_id: DiffId, step: Option<String>) -> Result<(), OpError> {
        let layer = Layer {
            tree: Arc::clone(self.world.index(&diff_id)?.tree()),
            diff_id: Some(diff_id),
            step,
        };
        self.layers.push((layer, Held::Store(diff_id)));
        Ok(())
    }

    /// As the comparison takes it.
    pub fn as_image(&self) -> tbuild_compare::Image<'_> {
        tbuild_compare::Image {
            config: self.config.clone(),
            manifest: self.manifest.clone(),
            layers: self.layers.iter().map(|(layer, _)| layer.clone()).collect(),
            contents: self,
        }
    }

    fn blob(&self, diff_id: DiffId) -> io::Result<Box<dyn BlobReader>> {
        let blob = diff_id.as_uncompressed_blob();
        let found = self
            .world
            .store
            .open_blob(&blob)
            .map_err(io::Error::other)?;
        found.ok_or_else(|| io::Error::other(format!("layer {diff_id} is not in the store")))
    }
}

/// The layers that a config names; none if it is no config.
pub fn image_layers(config: &[u8]) -> Vec<DiffId> {
    let config = ImageConfig::from_bytes(config);
    config
        .map(|config| config.rootfs.diff_ids)
        .unwrap_or_default()
}

fn diff_ids(layers: &[LayerRef]) -> Vec<DiffId> {
    layers.iter().map(|layer| layer.diff_id).collect()
}

/// Bytes of a regular file of a tree, hard links followed.
fn size_of(tree: &Tree, path: &TreePath) -> Option<u64> {
    match &tree.get(path)?.node {
        Node::File { size, .. } => Some(*size),
        Node::Hardlink { target } if target != path => size_of(tree, target),
        _ => None,
    }
}

impl tbuild_compare::Contents for Operand {
    fn file(&self, layer: usize, path: &TreePath) -> io::Result<Box<dyn Read + '_>> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let (known, held) = self.layers.get(layer).ok_or_else(missing)?;
        match held {
            Held::Folder(root) => {
                let file = crate::content::open_file(&in_folder(root, path))?;
                Ok(Box::new(file))
            }
            Held::Store(diff_id) => {
                let index = self.world.index(diff_id).map_err(io::Error::other)?;
                let size = size_of(&known.tree, path).ok_or_else(missing)?;
                let mut reader = self.blob(*diff_id)?;
                if size > 0 {
                    let offset = index.offset(path).ok_or_else(missing)?;
                    reader.seek(SeekFrom::Start(offset))?;
                }
                Ok(Box::new(reader.take(size)))
            }
        }
    }

    fn tar(&self, layer: usize) -> io::Result<Option<Box<dyn Read + '_>>> {
        match self.layers.get(layer) {
            Some((_, Held::Store(diff_id))) => Ok(Some(Box::new(self.blob(*diff_id)?))),
            _ => Ok(None),
        }
    }

    fn member(&self, layer: usize, offset: u64) -> io::Result<Option<TreePath>> {
        let Some(tar) = self.tar(layer)? else {
            return Ok(None);
        };
        // Contents are the same, or an entry would differ: the byte stands in the headers before a content.
        let mut found: Option<Entry> = None;
        let read = read_layer(
            io::BufReader::with_capacity(1 << 20, tar),
            |member: Member<'_>| -> Result<(), tbuild_oci::LayerError> {
                if member.offset > offset && found.is_none() {
                    found = Some(member.entry);
                }
                Ok(())
            },
        );
        read.map_err(io::Error::other)?;
        Ok(found.map(|entry| entry.path))
    }
}
