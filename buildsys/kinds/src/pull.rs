//! Images of a registry to start from.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;
use tbuild_graph::KeyManifest;
use tbuild_lock::{ImageLock, Kind, file_name};
use tbuild_oci::{ImageConfig, Platform, Reference};
use tbuild_realise::{Context, Op, OpError, Output, Prepared, Work};
use tbuild_registry::{PullOptions, RegistryClient, RegistryError};
use tbuild_store::Store as _;

use crate::base::Versions;
use crate::world::{driven, today};
use crate::{LayerRef, StateValue, World};

/// `FROM registry/repository:tag`, or by digest.
pub(crate) struct Pull {
    pub world: Arc<World>,
    pub client: Arc<RegistryClient>,
    /// As the Dockerfile says.
    pub name: String,
    pub reference: Reference,
    pub platform: Platform,
    /// Resolve again although there is a lock.
    pub update: bool,
}

/// The store's space for the configs of images, by manifest and platform.
pub(crate) const CONFIGS: &str = "image-config";

#[derive(Debug, Serialize, Deserialize)]
struct Pulled {
    config: BlobDigest,
    layers: Vec<LayerRef>,
}

fn failure(error: &RegistryError) -> OpError {
    let failed = if error.is_unreachable() {
        OpError::unreachable(error)
    } else {
        OpError::failed(error)
    };
    error.hints().into_iter().fold(failed, OpError::hint)
}

impl Pull {
    fn lock_path(&self) -> PathBuf {
        self.world
            .project
            .join("lockfiles")
            .join(file_name(Kind::Image, &self.name))
    }

    /// The digest that the name stands for: as written, as locked, or as the registry says now.
    async fn digest(&self, notice: &(dyn Fn(String) + Send + Sync)) -> Result<BlobDigest, OpError> {
        if let Some(digest) = self.reference.digest {
            return Ok(digest);
        }
        let path = self.lock_path();
        if let Some(text) = std::fs::read_to_string(&path).ok().filter(|_| !self.update) {
            let lock = ImageLock::parse(&path.display().to_string(), &text).map_err(|error| {
                OpError::Lock {
                    message: error.to_string(),
                    hints: Vec::new(),
                }
            })?;
            if lock.reference == self.reference.to_string() {
                return Ok(lock.digest);
            }
        }
        let refusal = if self.world.frozen {
            Some("--frozen")
        } else {
            self.world.offline.then_some("--offline")
        };
        if let Some(flag) = refusal {
            let message = format!(
                "image {} is not locked, and {flag} refuses to resolve it",
                self.name
            );
            return Err(OpError::Lock {
                message,
                hints: Vec::new(),
            });
        }
        notice(format!("resolving {}", self.reference));
        let digest = self.asked().await?;
        let reference = self.reference.to_string();
        let before = std::fs::read_to_string(&path).ok();
        let before = before.and_then(|text| ImageLock::parse("", &text).ok());
        let before = before.filter(|lock| lock.reference == reference && lock.digest == digest);
        let lock = ImageLock {
            reference,
            digest,
            when: before.and_then(|lock| lock.when).or(Some(today())),
        };
        crate::base::write(&path, lock.to_text())?;
        Ok(digest)
    }

    /// The digest that the registry gives for the name now.
    async fn asked(&self) -> Result<BlobDigest, OpError> {
        let (client, reference) = (Arc::clone(&self.client), self.reference.clone());
        let found = driven(move |handle| {
            handle
                .block_on(client.head_manifest(&reference))
                .map_err(|error| failure(&error))
        })
        .await?;
        let missing = || {
            OpError::failed_text(format!("{} is not there", self.reference))
                .hint("is it a stage, a named context, or a base of tbuild.toml that is misspelt?")
        };
        Ok(found.ok_or_else(missing)?.digest)
    }

    /// What is locked and what the registry has now, if that is another.
    pub(crate) async fn outdated(&self) -> Result<Option<Versions>, OpError> {
        let text = std::fs::read_to_string(self.lock_path()).ok();
        let lock = text.and_then(|text| ImageLock::parse("", &text).ok());
        let reference = self.reference.to_string();
        let Some(lock) = lock.filter(|lock| lock.reference == reference) else {
            return Ok(None);
        };
        let now = self.asked().await?;
        let is_other = now != lock.digest;
        Ok(is_other.then(|| (Some(lock.digest.to_string()), Some(now.to_string()))))
    }

    /// The image's config, without its layers: ONBUILD triggers and variables decide what is to be done, and so
    /// have to be known before. From the store where it has been seen, else from the registry if `ask`.
    pub(crate) async fn config(&self, ask: bool) -> Result<Option<ImageConfig>, OpError> {
        if !ask && self.reference.digest.is_none() && !self.lock_path().exists() {
            return Ok(None);
        }
        let digest = self.digest(&|_| ()).await?;
        let name = format!("{digest} {}", self.platform);
        let store = &self.world.store;
        if let Some(known) = store.reference(CONFIGS, &name)?
            && let Some(known) = std::str::from_utf8(&known)
                .ok()
                .and_then(|text| text.parse().ok())
            && let Some(bytes) = store.read_blob(&known)?
        {
            return Ok(ImageConfig::from_bytes(&bytes).ok());
        }
        if !ask || self.world.offline {
            return Ok(None);
        }
        let (client, reference) = (Arc::clone(&self.client), self.reference.with_digest(digest));
        let platform = self.platform.clone();
        let bytes = driven(move |handle| {
            handle
                .block_on(client.image_config(&reference, &platform))
                .map_err(|error| failure(&error))
        })
        .await?;
        let config = ImageConfig::from_bytes(&bytes).map_err(|error| OpError::failed(&error))?;
        let blob = store.put_blob(&bytes)?;
        store.set_reference(CONFIGS, &name, Some(blob.to_string().as_bytes()))?;
        Ok(Some(config))
    }
}

#[async_trait]
impl Op for Pull {
    fn title(&self) -> String {
        format!("pull {}", self.reference)
    }

    async fn prepare(&self, cx: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        let digest = self.digest(&|message| cx.notice(message)).await?;
        let manifest = KeyManifest::new("base.image/1")
            .text("digest", digest)
            .text("platform", &self.platform);
        Ok(Prepared::Action(Work {
            manifest,
            impure: Vec::new(),
            force: false,
            state: Box::new(digest),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let digest = *state
            .downcast::<BlobDigest>()
            .map_err(|_| OpError::Internal {
                message: "a base's state is another's".to_owned(),
            })?;
        if self.world.offline {
            let message = format!(
                "image {} is not in the store, and --offline refuses to pull it",
                self.name
            );
            return Err(OpError::Lock {
                message,
                hints: Vec::new(),
            });
        }
        let mut options = PullOptions::new(self.platform.clone());
        let events = cx.clone();
        options.progress =
            Arc::new(move |done, total| events.progress("pull", done, Some(total), true));
        let store = Arc::clone(&self.world.store) as Arc<dyn tbuild_store::Store>;
        let (client, reference) = (Arc::clone(&self.client), self.reference.with_digest(digest));
        let image = driven(move |handle| {
            handle
                .block_on(client.pull_image(&reference, store, &options))
                .map_err(|error| failure(&error))
        })
        .await?;
        let layers = image
            .layers
            .iter()
            .map(|layer| LayerRef {
                diff_id: layer.diff_id,
                size: layer.size,
            })
            .collect();
        let name = format!("{digest} {}", self.platform);
        let config = image.config.digest.to_string();
        self.world
            .store
            .set_reference(CONFIGS, &name, Some(config.as_bytes()))?;
        let pulled = Pulled {
            config: image.config.digest,
            layers,
        };
        serde_json::to_value(pulled).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let Ok(pulled) = Pulled::deserialize(result) else {
            return Ok(None);
        };
        for layer in &pulled.layers {
            if !self.world.has_layer(layer)? {
                return Ok(None);
            }
        }
        let Some(bytes) = self.world.store.read_blob(&pulled.config)? else {
            return Ok(None);
        };
        let config = ImageConfig::from_bytes(&bytes).map_err(|error| OpError::failed(&error))?;
        let state = StateValue {
            layers: pulled.layers,
            config,
            scope: None,
            packages: None,
        };
        Ok(Some(Output::new(state)))
    }
}
