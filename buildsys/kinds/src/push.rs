//! Images pushed to a registry.

use std::any::Any;
use std::io::Read;
use std::sync::Arc;

use async_trait::async_trait;
use tbuild_digest::BlobDigest;
use tbuild_graph::KeyManifest;
use tbuild_oci::{Descriptor, Reference, media_type};
use tbuild_realise::{Context, Effect, Op, OpError, Output, Prepared};
use tbuild_registry::{PushBlob, Pushed, RegistryClient, RegistryError};
use tbuild_store::Store as _;

use crate::World;
use crate::index::{Built, ManifestDocument};
use crate::value::PushValue;
use crate::world::{blocking, driven};

/// An image in a registry. Its input: the image, or the list of images.
pub(crate) struct Push {
    pub world: Arc<World>,
    pub client: Arc<RegistryClient>,
    /// `host[:port]`.
    pub registry: String,
    pub repository: String,
    pub tags: Vec<String>,
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
        let built = built(inputs)?;
        let ids = built.images().into_iter().map(|image| image.id);
        let key = KeyManifest::new("push/1");
        let key = match &built {
            Built::Image(image) => key.text("image", image.id),
            Built::Index(_) => key.list("image", ids),
        };
        let key = key
            .text("registry", &self.registry)
            .text("repository", &self.repository)
            .list("tag", &self.tags);
        let satisfied = match built.known_documents(&self.world)? {
            Some(documents) => {
                let digest = documents.digest();
                self.is_there(&digest).await?.then(|| self.output(digest))
            }
            None => None,
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
        let built = built(inputs)?;
        for image in built.images() {
            self.world.store.put_blob(&image.config)?;
        }
        let world = Arc::clone(&self.world);
        let documents = blocking(move || built.documents(&world)).await?;
        let digest = documents.digest();
        let mut sent = (0, 0);
        if documents.index.is_some() {
            // What an index names has to be there before it.
            for manifest in &documents.manifests {
                let reference = Reference {
                    registry: self.registry.clone(),
                    repository: self.repository.clone(),
                    tag: None,
                    digest: Some(BlobDigest::of(&manifest.bytes)),
                };
                let pushed = self
                    .send(cx, &reference, media_type::MANIFEST, manifest)
                    .await?;
                sent = (sent.0 + pushed.blobs_sent, sent.1 + pushed.bytes_sent);
            }
        }
        let (kind, bytes) = documents.top();
        let top = ManifestDocument {
            bytes: bytes.to_vec(),
            blobs: match (&documents.index, documents.manifests.first()) {
                (None, Some(manifest)) => manifest.blobs.clone(),
                _ => Vec::new(),
            },
        };
        for tag in &self.tags {
            let reference = self.reference(tag)?;
            let pushed = self.send(cx, &reference, kind, &top).await?;
            sent = (sent.0 + pushed.blobs_sent, sent.1 + pushed.bytes_sent);
            let (blobs, bytes) = std::mem::take(&mut sent);
            cx.output(
                tbuild_exec::Stream::Stdout,
                format!("{reference}: {blobs} blobs sent, {bytes} bytes\n").as_bytes(),
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

/// What is to be pushed.
fn built(inputs: &[Output]) -> Result<Built, OpError> {
    let built = inputs.first().and_then(Built::of);
    built.ok_or_else(|| OpError::Internal {
        message: "what is pushed is no image".to_owned(),
    })
}

impl Push {
    /// Sends a document after all that it names.
    async fn send(
        &self,
        cx: &Context,
        reference: &Reference,
        kind: &'static str,
        document: &ManifestDocument,
    ) -> Result<Pushed, OpError> {
        let events = cx.clone();
        let progress = Arc::new(move |done: u64, total: u64| {
            events.progress("push", done, Some(total), true);
        });
        let blobs = document.blobs.iter().cloned();
        let blobs: Vec<PushBlob> = blobs.map(|blob| self.blob(blob)).collect();
        let (client, bytes) = (Arc::clone(&self.client), document.bytes.clone());
        let to = reference.clone();
        driven(move |handle| {
            handle
                .block_on(client.push_image(&to, kind, bytes, blobs, progress))
                .map_err(|error| failure(&error))
        })
        .await
    }

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
