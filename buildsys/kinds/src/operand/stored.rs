//! Images that the store knows, and images of a registry.

use std::sync::Arc;

use serde::Deserialize;
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_oci::{ImageConfig, Manifest, Platform, Reference};
use tbuild_realise::OpError;
use tbuild_registry::{PullOptions, RegistryClient, RegistryError, TAGS};
use tbuild_store::Store as _;

use super::Operand;
use crate::World;
use crate::world::driven;

/// What the store's registry keeps of a tag.
#[derive(Debug, Deserialize)]
struct Tagged {
    digest: BlobDigest,
}

/// The image of a config's digest, or of a manifest's, if the store knows it. Blocks.
pub fn from_id(world: &Arc<World>, id: &BlobDigest) -> Result<Option<Operand>, OpError> {
    let Some(bytes) = world.store.read_blob(id)? else {
        return Ok(None);
    };
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) {
        let digest = manifest.config.digest;
        let Some(config) = world.store.read_blob(&digest)? else {
            return Ok(None);
        };
        let mut operand = of_config(world, &config, id)?;
        operand.manifest = serde_json::from_slice(&bytes).ok();
        return Ok(Some(operand));
    }
    of_config(world, &bytes, id).map(Some)
}

fn of_config(world: &Arc<World>, bytes: &[u8], id: &BlobDigest) -> Result<Operand, OpError> {
    let layers: Vec<DiffId> = match ImageConfig::from_bytes(bytes) {
        Ok(config) if !config.architecture.is_empty() => config.rootfs.diff_ids,
        _ => return Err(OpError::usage(format!("{id} is no image"))),
    };
    for layer in &layers {
        if world
            .store
            .blob_size(&layer.as_uncompressed_blob())?
            .is_none()
        {
            return Err(
                OpError::usage(format!("layer {layer} of {id} is no longer in the store"))
                    .hint("build or pull the image again"),
            );
        }
    }
    Operand::image(world, bytes, &layers)
}

/// The image of a reference: what the store's own registry calls so where no host is named, else a registry's.
pub async fn from_reference(world: &Arc<World>, text: &str) -> Result<Operand, OpError> {
    let reference: Reference = text
        .parse()
        .map_err(|error: tbuild_oci::ReferenceError| OpError::usage(error.to_string()))?;
    if let Some(found) = tokio::task::block_in_place(|| known(world, text, &reference))? {
        return Ok(found);
    }
    if world.offline {
        return Err(OpError::usage(format!(
            "{text} is not in the store, and --offline refuses to pull it"
        )));
    }
    let platform = Platform::parse(&world.machine.platform).unwrap_or_default();
    let client = RegistryClient::new(world.machine.registry.clone());
    let store = Arc::clone(&world.store) as Arc<dyn tbuild_store::Store>;
    let image = driven(move |handle| {
        let options = PullOptions::new(platform);
        handle
            .block_on(client.pull_image(&reference, store, &options))
            .map_err(|error| failure(&error))
    })
    .await?;
    let id = image.manifest.digest;
    let found = tokio::task::block_in_place(|| from_id(world, &id))?;
    found.ok_or_else(|| OpError::Internal {
        message: format!("{text} was pulled, but is not in the store"),
    })
}

/// What the store knows of a reference without asking anybody.
fn known(
    world: &Arc<World>,
    text: &str,
    reference: &Reference,
) -> Result<Option<Operand>, OpError> {
    if let Some(digest) = &reference.digest
        && let Some(found) = from_id(world, digest)?
    {
        return Ok(Some(found));
    }
    let name = text.split('@').next().unwrap_or(text);
    let tagged = match name.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => name.to_owned(),
        _ => format!("{name}:latest"),
    };
    let bytes = world.store.reference(TAGS, &tagged)?;
    match bytes.and_then(|bytes| serde_json::from_slice::<Tagged>(&bytes).ok()) {
        Some(tag) => from_id(world, &tag.digest),
        None => Ok(None),
    }
}

fn failure(error: &RegistryError) -> OpError {
    let failed = if error.is_unreachable() {
        OpError::unreachable(error)
    } else {
        OpError::usage(tbuild_realise::message(error))
    };
    error.hints().into_iter().fold(failed, OpError::hint)
}
