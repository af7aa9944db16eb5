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

use crate::world::driven;
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
    async fn digest(&self, cx: &Context) -> Result<BlobDigest, OpError> {
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
        cx.notice(format!("resolving {}", self.reference));
        let (client, reference) = (Arc::clone(&self.client), self.reference.clone());
        let found = driven(move |handle| {
            handle
                .block_on(client.head_manifest(&reference))
                .map_err(|error| failure(&error))
        })
        .await?;
        let digest = found
            .ok_or_else(|| {
                OpError::failed_text(format!("{} is not there", self.reference)).hint(
                    "is it a stage, a named context, or a base of tbuild.toml that is misspelt?",
                )
            })?
            .digest;
        let lock = ImageLock {
            reference: self.reference.to_string(),
            digest,
        };
        crate::base::write(&path, &lock.to_text())?;
        Ok(digest)
    }
}

#[async_trait]
impl Op for Pull {
    fn title(&self) -> String {
        format!("pull {}", self.reference)
    }

    async fn prepare(&self, cx: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        let digest = self.digest(cx).await?;
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
        if !config.config.on_build.is_empty() {
            return Err(OpError::usage(format!(
                "{} has ONBUILD triggers, which are not supported yet",
                self.name
            )));
        }
        let state = StateValue {
            layers: pulled.layers,
            config,
            scope: None,
            packages: None,
        };
        Ok(Some(Output::new(state)))
    }
}
