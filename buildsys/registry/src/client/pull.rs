//! Images out of a registry, into a store.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tbuild_digest::DiffId;
use tbuild_oci::{
    Bomb, Descriptor, Guard, ImageConfig, Index, Manifest, Platform, Ratio, Reference, media_type,
};
use tbuild_store::{Store, StoreError};

use super::body::{Counter, Progress};
use super::{RegistryClient, RegistryError, platform};

/// The largest config read, in bytes.
const LARGEST_CONFIG: u64 = 32 << 20;
/// Bytes moved at a time.
const PIECE: usize = 256 << 10;

/// How an image is pulled.
#[derive(Clone)]
pub struct PullOptions {
    /// For which platform.
    pub platform: Platform,
    /// The most bytes that all layers may have, unpacked.
    pub limit: u64,
    /// Is told bytes received and to be received, as they travel; what the store has is in neither.
    pub progress: Progress,
}

impl PullOptions {
    /// For a platform, up to 64 GiB, without progress.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            limit: 64 << 30,
            progress: Arc::new(|_, _| {}),
        }
    }
}

impl std::fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullOptions")
            .field("platform", &self.platform)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct PulledImage {
    /// What the reference named: the manifest itself, or the index that has it. To be pinned in a lock.
    pub named: Descriptor,
    /// The image's manifest; its bytes are a blob of the store.
    pub manifest: Descriptor,
    /// The image's config; its bytes are a blob of the store.
    pub config: Descriptor,
    /// The config, read.
    pub image: ImageConfig,
    /// The layers, lowest first.
    pub layers: Vec<PulledLayer>,
}

/// A layer in the store: unpacked, a blob whose digest is its diff ID.
#[derive(Debug, Clone, PartialEq)]
pub struct PulledLayer {
    /// The layer as the registry has it.
    pub descriptor: Descriptor,
    /// Its diff ID, checked.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size: u64,
}

/// An image of which manifest and config have been read.
struct Found {
    named: Descriptor,
    descriptor: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
    config_bytes: Vec<u8>,
    image: ImageConfig,
}

impl RegistryClient {
    /// Pulls an image into `store`: manifest and config as they are, each layer decompressed and checked
    /// against the config's diff IDs. Layers that the store has are not fetched.
    pub async fn pull_image(
        &self,
        reference: &Reference,
        store: Arc<dyn Store>,
        options: &PullOptions,
    ) -> Result<PulledImage, RegistryError> {
        let found = self.find_image(reference, &options.platform).await?;
        let Found {
            named,
            descriptor,
            bytes,
            manifest,
            config_bytes,
            image,
        } = found;
        let (layers, diff_ids) = (manifest.layers.len(), image.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(RegistryError::NotAnImage {
                reference: reference.to_string(),
                why: format!("it has {layers} layers but {diff_ids} diff IDs"),
            });
        }
        let wanted: Vec<(Descriptor, DiffId)> = manifest
            .layers
            .iter()
            .cloned()
            .zip(image.rootfs.diff_ids.iter().copied())
            .collect();
        let layers = self.layers(reference, &store, wanted, options).await?;
        let kept = Arc::clone(&store);
        blocking(move || {
            kept.put_blob(&config_bytes)?;
            kept.put_blob(&bytes)?;
            Ok(())
        })
        .await?;
        Ok(PulledImage {
            named,
            manifest: descriptor,
            config: manifest.config,
            image,
            layers,
        })
    }

    /// The bytes of an image's config, and nothing else of the image.
    pub async fn image_config(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Vec<u8>, RegistryError> {
        Ok(self.find_image(reference, platform).await?.config_bytes)
    }

    /// Manifest and config of an image, checked.
    async fn find_image(
        &self,
        reference: &Reference,
        wanted: &Platform,
    ) -> Result<Found, RegistryError> {
        let bad = |why: String| RegistryError::NotAnImage {
            reference: reference.to_string(),
            why,
        };
        let (named, bytes) = self.get_manifest(reference).await?;
        let (descriptor, bytes) = self.resolve(reference, &named, bytes, wanted).await?;
        if !matches!(
            descriptor.media_type.as_str(),
            media_type::MANIFEST | media_type::DOCKER_MANIFEST
        ) {
            return Err(bad(format!(
                "its media type is {:?}",
                descriptor.media_type
            )));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes)
            .map_err(|error| bad(format!("its manifest is malformed: {error}")))?;
        let config = &manifest.config;
        if !matches!(
            config.media_type.as_str(),
            media_type::CONFIG | media_type::DOCKER_CONFIG
        ) {
            return Err(bad(format!(
                "its config is of type {:?}",
                config.media_type
            )));
        }
        let config_bytes = self.small_blob(reference, config).await?;
        let image = ImageConfig::from_bytes(&config_bytes)
            .map_err(|error| bad(format!("its config is malformed: {error}")))?;
        check_platform(reference, &image, wanted)?;
        Ok(Found {
            named,
            descriptor,
            bytes,
            manifest,
            config_bytes,
            image,
        })
    }

    /// The manifest for the platform, if `named` is an index; else `named` itself.
    async fn resolve(
        &self,
        reference: &Reference,
        named: &Descriptor,
        bytes: Vec<u8>,
        wanted: &Platform,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        if !media_type::is_index(&named.media_type) {
            return Ok((named.clone(), bytes));
        }
        let index: Index =
            serde_json::from_slice(&bytes).map_err(|error| RegistryError::NotAnImage {
                reference: reference.to_string(),
                why: format!("its index is malformed: {error}"),
            })?;
        let Some(chosen) = platform::choose(&index.manifests, wanted) else {
            let all = index
                .manifests
                .iter()
                .filter_map(|one| one.platform.as_ref());
            let available: Vec<String> = all.map(ToString::to_string).collect();
            return Err(no_platform(reference, wanted, available.join(", ")));
        };
        let chosen = reference.with_digest(chosen.digest);
        self.get_manifest(&chosen).await
    }

    /// A blob that fits into memory.
    async fn small_blob(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > LARGEST_CONFIG {
            return Err(RegistryError::TooLarge {
                what: format!("blob {}", descriptor.digest),
                limit: LARGEST_CONFIG,
            });
        }
        self.get_blob(repository, descriptor, Vec::new()).await
    }

    /// Fetches the layers that the store lacks.
    async fn layers(
        &self,
        repository: &Reference,
        store: &Arc<dyn Store>,
        wanted: Vec<(Descriptor, DiffId)>,
        options: &PullOptions,
    ) -> Result<Vec<PulledLayer>, RegistryError> {
        let distinct: BTreeMap<DiffId, Descriptor> = wanted
            .iter()
            .map(|(descriptor, diff_id)| (*diff_id, descriptor.clone()))
            .collect();
        let looked = Arc::clone(store);
        let ids: Vec<DiffId> = distinct.keys().copied().collect();
        let mut sizes: BTreeMap<DiffId, u64> = blocking(move || {
            let size = |id: DiffId| {
                let size = looked.blob_size(&id.as_uncompressed_blob()).transpose()?;
                Some(size.map(|size| (id, size)))
            };
            ids.into_iter().filter_map(size).collect()
        })
        .await?;
        let missing: Vec<(DiffId, Descriptor)> = distinct
            .into_iter()
            .filter(|(diff_id, _)| !sizes.contains_key(diff_id))
            .collect();
        // Only shown: sizes may be anything.
        let sizes_said = missing.iter().map(|(_, descriptor)| descriptor.size);
        let total = sizes_said.fold(0, u64::saturating_add);
        let counter = &Counter::new(total, Arc::clone(&options.progress));
        let fetched: Vec<(DiffId, u64)> = stream::iter(missing)
            .map(|(diff_id, descriptor)| async move {
                let store = Arc::clone(store);
                let limit = options.limit;
                let size = self
                    .fetch_blob(repository, &descriptor, Some(counter), move |body| {
                        unpack(body, &*store, &diff_id, limit)
                    })
                    .await?;
                Ok::<_, RegistryError>((diff_id, size))
            })
            .buffer_unordered(self.options().parallel.max(1))
            .try_collect()
            .await?;
        sizes.extend(fetched);
        let all = sizes.values().copied().fold(0, u64::saturating_add);
        if all > options.limit {
            return Err(RegistryError::TooLarge {
                what: repository.to_string(),
                limit: options.limit,
            });
        }
        let layers = wanted.into_iter().map(|(descriptor, diff_id)| PulledLayer {
            size: sizes.get(&diff_id).copied().unwrap_or(0),
            descriptor,
            diff_id,
        });
        Ok(layers.collect())
    }
}

/// Decompresses a layer into the store. Returns the bytes of its tar.
fn unpack(
    mut body: super::BlobBody,
    store: &dyn Store,
    diff_id: &DiffId,
    limit: u64,
) -> Result<u64, RegistryError> {
    let what = || format!("unpack layer {diff_id}");
    let local = |source: io::Error| RegistryError::local(what(), source);
    let mut writer = store.blob_writer()?;
    let guard = Guard::new(Ratio::LAYER);
    let reader = tbuild_oci::decompress(guard.packed(&mut body)).map_err(local)?;
    let mut reader = guard.unpacked(reader);
    let mut buffer = vec![0; PIECE];
    let mut size = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(match Bomb::of(&error) {
                    Some(bomb) => RegistryError::Bomb {
                        layer: diff_id.to_string(),
                        bomb,
                    },
                    None => local(error),
                });
            }
        };
        size += count as u64;
        if size > limit {
            // A few bytes of gzip can unpack to very many.
            return Err(RegistryError::TooLarge {
                what: format!("layer {diff_id}"),
                limit,
            });
        }
        writer.write_all(&buffer[..count]).map_err(local)?;
    }
    drop(reader);
    body.finish()?;
    match writer.commit(Some(&diff_id.as_uncompressed_blob())) {
        Ok((_, size)) => Ok(size),
        Err(StoreError::Mismatch { actual, .. }) => Err(RegistryError::Mismatch {
            what: "diff ID of a layer".to_owned(),
            expected: diff_id.to_string(),
            actual: actual.to_string(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// An image without an index says itself what it is for; one that says nothing is for all.
fn check_platform(
    reference: &Reference,
    image: &ImageConfig,
    wanted: &Platform,
) -> Result<(), RegistryError> {
    let own = Platform {
        architecture: image.architecture.clone(),
        os: image.os.clone(),
        variant: image.variant.clone(),
    };
    let silent = own.architecture.is_empty() || own.os.is_empty();
    if silent || platform::matches(&own, wanted) {
        return Ok(());
    }
    Err(no_platform(reference, wanted, own.to_string()))
}

fn no_platform(reference: &Reference, wanted: &Platform, available: String) -> RegistryError {
    let nothing = available.is_empty();
    RegistryError::Platform {
        reference: reference.to_string(),
        wanted: wanted.to_string(),
        available: if nothing {
            "none".to_owned()
        } else {
            available
        },
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RegistryError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(RegistryError::local("use the store", error.into())),
    }
}
