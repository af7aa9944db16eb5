//! Images in files: OCI layouts and docker-archives, in a tar or a folder; and what is no image.
//!
//! Sources: OCI image spec, "Image Layout"; the format of `docker save`.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use tbuild_compare::Layer;
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_oci::{
    Bomb, Descriptor, Guard, ImageConfig, Index, Manifest, Platform, Ratio, decompress, media_type,
};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use super::container::Container;
use super::{Held, Operand, folder};
use crate::World;

/// The largest document read, in bytes.
const DOCUMENT: u64 = 32 << 20;
/// How deep indexes may lie in each other.
const INDEXES: usize = 4;

/// One image of a docker-archive's manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// What lies at `path`: an image archive, an image layout, a file system in a tar, or a plain folder. Blocks.
pub fn from_path(world: &Arc<World>, path: &Path) -> Result<Operand, OpError> {
    let name = path.display().to_string();
    let failed = |error: io::Error| OpError::usage(format!("cannot read {name}: {error}"));
    if path.is_dir() {
        if !path.join("oci-layout").is_file() {
            let tree = folder::tree(path).map_err(failed)?;
            let mut operand = Operand::new(world);
            let layer = Layer {
                tree: Arc::new(tree),
                diff_id: None,
                step: None,
            };
            operand.layers.push((layer, Held::Folder(path.to_owned())));
            return Ok(operand);
        }
        let container = Container::Folder(path.to_owned());
        return Archive::new(world, &container, &name).layout();
    }
    let container = Container::open(path).map_err(|error| {
        OpError::usage(format!("{name} is no archive of files: {error}"))
            .hint("an image archive, an image layout, a tar or a folder is expected")
    })?;
    let archive = Archive::new(world, &container, &name);
    if archive.document("oci-layout")?.is_some() {
        return archive.layout();
    }
    if let Some(saved) = archive.document("manifest.json")? {
        return archive.saved(&saved);
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    flat(world, file, &name)
}

/// A file system in a tar, compressed or not: one layer, kept in the store.
pub(super) fn flat(
    world: &Arc<World>,
    reader: impl Read + Send,
    name: &str,
) -> Result<Operand, OpError> {
    let mut operand = Operand::new(world);
    let diff_id = keep(world, reader, None, name)?;
    operand.push(diff_id, None)?;
    Ok(operand)
}

/// Keeps an uncompressed copy of a layer in the store.
fn keep(
    world: &World,
    reader: impl Read + Send,
    expected: Option<&DiffId>,
    name: &str,
) -> Result<DiffId, OpError> {
    let failed = |error: io::Error| OpError::usage(format!("cannot read {name}: {error}"));
    let mut writer = world.store.blob_writer()?;
    let guard = Guard::new(Ratio::LAYER);
    let reader = decompress(guard.packed(reader)).map_err(failed)?;
    io::copy(&mut guard.unpacked(reader), &mut writer).map_err(|error| {
        let hint = Bomb::of(&error).map(|_| Bomb::LAYER_HINT);
        hint.into_iter().fold(failed(error), OpError::hint)
    })?;
    let expected = expected.map(|digest| digest.as_uncompressed_blob());
    let (digest, _) = writer
        .commit(expected.as_ref())
        .map_err(|error| OpError::usage(format!("{name} is corrupt: {error}")))?;
    Ok(DiffId(digest.0))
}

struct Archive<'a> {
    world: &'a Arc<World>,
    container: &'a Container,
    name: &'a str,
}

impl<'a> Archive<'a> {
    fn new(world: &'a Arc<World>, container: &'a Container, name: &'a str) -> Self {
        Self {
            world,
            container,
            name,
        }
    }

    fn wrong(&self, why: impl std::fmt::Display) -> OpError {
        OpError::usage(format!("{}: {why}", self.name))
    }

    fn document(&self, path: &str) -> Result<Option<Vec<u8>>, OpError> {
        let read = self.container.small(path, DOCUMENT);
        read.map_err(|error| self.wrong(format_args!("{path}: {error}")))
    }

    fn needed(&self, path: &str) -> Result<Vec<u8>, OpError> {
        self.document(path)?
            .ok_or_else(|| self.wrong(format_args!("it has no {path}")))
    }

    fn parsed<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        bytes: &[u8],
    ) -> Result<T, OpError> {
        serde_json::from_slice(bytes).map_err(|error| self.wrong(format_args!("{path}: {error}")))
    }

    /// A document by digest, which is checked.
    fn blob(&self, digest: &BlobDigest) -> Result<Vec<u8>, OpError> {
        let path = format!("blobs/sha256/{}", digest.hex());
        let bytes = self.needed(&path)?;
        if BlobDigest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(self.wrong(format_args!("{path} is corrupt")))
        }
    }

    /// The one image that an index is about: of this machine's platform where there are several.
    fn choose(&self, index: &Index) -> Result<Descriptor, OpError> {
        let mut images: Vec<&Descriptor> = index.manifests.iter().collect();
        images.sort_by_key(|image| image.digest);
        images.dedup_by_key(|image| image.digest);
        if images.len() > 1 {
            let own = Platform::parse(&self.world.machine.platform);
            images.retain(|image| image.platform.is_some() && image.platform == own);
        }
        match images[..] {
            [one] => Ok(one.clone()),
            [] => Err(self.wrong(format_args!(
                "it has no image for {}",
                self.world.machine.platform
            ))),
            _ => Err(self.wrong("it has several images for this machine's platform")),
        }
    }

    fn layout(&self) -> Result<Operand, OpError> {
        let mut index: Index = self.parsed("index.json", &self.needed("index.json")?)?;
        for _ in 0..INDEXES {
            let chosen = self.choose(&index)?;
            let bytes = self.blob(&chosen.digest)?;
            if media_type::is_index(&chosen.media_type) {
                index = self.parsed("an index", &bytes)?;
                continue;
            }
            let manifest: Manifest = self.parsed("its manifest", &bytes)?;
            let config = self.blob(&manifest.config.digest)?;
            let layers = manifest.layers.iter();
            let paths = layers.map(|layer| format!("blobs/sha256/{}", layer.digest.hex()));
            let mut operand = self.image(&config, &paths.collect::<Vec<_>>())?;
            operand.manifest = Some(self.parsed("its manifest", &bytes)?);
            return Ok(operand);
        }
        Err(self.wrong("its indexes lie too deep in each other"))
    }

    fn saved(&self, list: &[u8]) -> Result<Operand, OpError> {
        let saved: Vec<Saved> = self.parsed("manifest.json", list)?;
        let [image] = &saved[..] else {
            return Err(self.wrong(format_args!("it holds {} images", saved.len())));
        };
        let config = self.needed(&image.config)?;
        self.image(&config, &image.layers)
    }

    fn image(&self, config: &[u8], layers: &[String]) -> Result<Operand, OpError> {
        let parsed = ImageConfig::from_bytes(config)
            .map_err(|error| self.wrong(format_args!("its config: {error}")))?;
        let diff_ids = &parsed.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            return Err(self.wrong(format_args!(
                "it has {} layers but {} diff IDs",
                layers.len(),
                diff_ids.len()
            )));
        }
        for (diff_id, path) in diff_ids.iter().zip(layers) {
            let blob = diff_id.as_uncompressed_blob();
            if self.world.store.blob_size(&blob)?.is_some() {
                continue;
            }
            let reader = self
                .container
                .file(path)
                .map_err(|error| self.wrong(format_args!("{path}: {error}")))?
                .ok_or_else(|| self.wrong(format_args!("it has no {path}")))?;
            let what = format!("{path} of {}", self.name);
            keep(self.world, reader, Some(diff_id), &what)?;
        }
        Operand::image(self.world, config, diff_ids)
    }
}
