//! Images pushed to a registry.

use std::any::Any;
use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use tbuild_digest::BlobDigest;
use tbuild_graph::KeyManifest;
use tbuild_oci::{Descriptor, Manifest, Reference, media_type};
use tbuild_realise::{Context, Effect, Op, OpError, Output, Prepared};
use tbuild_registry::{PushBlob, RegistryClient, RegistryError};
use tbuild_store::Store as _;

use crate::gzip::{Compressed, compressed, known_layer};
use crate::value::{PushValue, input};
use crate::world::{blocking, driven};
use crate::{ImageValue, World};

/// An image in a registry. Its input: the image.
pub(crate) struct Push {
    pub world: Arc<World>,
    pub client: Arc<RegistryClient>,
    /// `host[:port]`.
    pub registry: String,
    pub repository: String,
    pub tags: Vec<String>,
}

/// The manifest of an image whose layers are compressed.
pub(crate) fn manifest(image: &ImageValue, layers: &[Compressed]) -> Vec<u8> {
    let config = Descriptor::new(media_type::CONFIG, image.id, image.config.len() as u64);
    let layers = layers
        .iter()
        .map(|layer| Descriptor::new(media_type::LAYER_GZIP, layer.digest, layer.size))
        .collect();
    Manifest::new(config, layers).to_bytes()
}

fn failure(error: &RegistryError) -> OpError {
    let failed = if error.is_unreachable() {
        OpError::unreachable(error)
    } else {
        OpError::failed(error)
    };
    error.hints().into_iter().fold(failed, OpError::hint)
}

impl Push {
    fn reference(&self, tag: &str) -> Result<Reference, OpError> {
        format!("{}/{}:{tag}", self.registry, self.repository)
            .parse()
            .map_err(|error: tbuild_oci::ReferenceError| OpError::usage(error.to_string()))
    }

    fn output(&self, manifest: BlobDigest) -> Output {
        let reference = format!("{}/{}@{manifest}", self.registry, self.repository);
        Output::new(PushValue {
            reference,
            manifest,
        })
    }

    /// Whether every tag names the manifest.
    async fn is_there(&self, manifest: &BlobDigest) -> Result<bool, OpError> {
        let references = self
            .tags
            .iter()
            .map(|tag| self.reference(tag))
            .collect::<Result<Vec<_>, _>>()?;
        let (client, manifest) = (Arc::clone(&self.client), *manifest);
        driven(move |handle| {
            for reference in references {
                let found = handle
                    .block_on(client.head_manifest(&reference))
                    .map_err(|error| failure(&error))?;
                if found.is_none_or(|found| found.digest != manifest) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }
}

#[async_trait]
impl Op for Push {
    fn title(&self) -> String {
        format!("push {}/{}", self.registry, self.repository)
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let image = input::<ImageValue>(inputs, 0)?;
        let key = KeyManifest::new("push/1")
            .text("image", image.id)
            .text("registry", &self.registry)
            .text("repository", &self.repository)
            .list("tag", &self.tags);
        let mut layers = Vec::new();
        for layer in &image.state.layers {
            layers.extend(known_layer(&self.world, layer)?);
        }
        let satisfied = if layers.len() == image.state.layers.len() {
            let digest = BlobDigest::of(&manifest(&image, &layers));
            self.is_there(&digest).await?.then(|| self.output(digest))
        } else {
            None
        };
        let reason = "the registry does not have it".to_owned();
        Ok(Prepared::Effect(Effect {
            manifest: key,
            satisfied,
            reason,
            state: Box::new(()),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        inputs: &[Output],
        _: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let image = input::<ImageValue>(inputs, 0)?;
        let (world, layers) = (Arc::clone(&self.world), image.state.layers.clone());
        let layers = blocking(move || {
            layers
                .iter()
                .map(|layer| compressed(&world, layer))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
        let bytes = manifest(&image, &layers);
        let digest = BlobDigest::of(&bytes);
        self.world.store.put_blob(&image.config)?;
        let mut blobs = vec![self.blob(Descriptor::new(
            media_type::CONFIG,
            image.id,
            image.config.len() as u64,
        ))];
        blobs.extend(layers.iter().map(|layer| {
            self.blob(Descriptor::new(
                media_type::LAYER_GZIP,
                layer.digest,
                layer.size,
            ))
        }));
        for tag in &self.tags {
            let reference = self.reference(tag)?;
            let events = cx.clone();
            let progress = Arc::new(move |done: u64, total: u64| {
                events.progress("push", done, Some(total), true);
            });
            let (client, bytes, blobs) = (Arc::clone(&self.client), bytes.clone(), blobs.clone());
            let to = reference.clone();
            let pushed = driven(move |handle| {
                handle
                    .block_on(client.push_image(&to, media_type::MANIFEST, bytes, blobs, progress))
                    .map_err(|error| failure(&error))
            })
            .await?;
            cx.output(
                tbuild_exec::Stream::Stdout,
                format!(
                    "{reference}: {} blobs sent, {} bytes\n",
                    pushed.blobs_sent, pushed.bytes_sent
                )
                .as_bytes(),
            );
        }
        serde_json::to_value(digest).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let digest: Option<BlobDigest> = serde_json::from_value(result.clone()).ok();
        Ok(digest.map(|digest| self.output(digest)))
    }
}

impl Push {
    fn blob(&self, descriptor: Descriptor) -> PushBlob {
        let (store, digest) = (Arc::clone(&self.world.store), descriptor.digest);
        PushBlob::new(descriptor, move || {
            let blob = store.open_blob(&digest).map_err(std::io::Error::other)?;
            let blob = blob.ok_or_else(|| {
                std::io::Error::other(format!("blob {digest} is not in the store"))
            })?;
            Ok(Box::new(blob) as Box<dyn Read + Send>)
        })
    }
}
