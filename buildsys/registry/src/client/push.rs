//! Images into a registry: only what it lacks.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tbuild_digest::BlobDigest;
use tbuild_oci::{Descriptor, Reference};

use super::body::{Counter, Progress};
use super::request::Scope;
use super::{PushBlob, RegistryClient, RegistryError};

/// Blobs asked for at a time.
const ASKED: usize = 8;

/// What a push did.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// The manifest.
    pub manifest: Descriptor,
    /// Whether the manifest was sent; if not, the reference named it already and nothing else was looked at.
    pub manifest_sent: bool,
    /// Blobs sent.
    pub blobs_sent: usize,
    /// Bytes of those blobs, each counted once.
    pub bytes_sent: u64,
    /// Blobs that the registry took from another repository of its own.
    pub blobs_mounted: usize,
    /// Blobs that were there.
    pub blobs_existing: usize,
}

impl RegistryClient {
    /// Pushes an image: its manifest under `reference`, and those of `blobs` (config and layers) that the
    /// registry lacks. A reference that names this manifest already costs one request. `progress` is told
    /// bytes sent and to be sent; what the registry has is in neither.
    ///
    /// If the future is dropped, the registry may have blobs that nothing names: the next push finds them.
    pub async fn push_image(
        &self,
        reference: &Reference,
        media_type: &str,
        manifest: Vec<u8>,
        blobs: Vec<PushBlob>,
        progress: Progress,
    ) -> Result<Pushed, RegistryError> {
        let digest = BlobDigest::of(&manifest);
        let descriptor = Descriptor::new(media_type, digest, manifest.len() as u64);
        let mut pushed = Pushed {
            manifest: descriptor,
            manifest_sent: false,
            blobs_sent: 0,
            bytes_sent: 0,
            blobs_mounted: 0,
            blobs_existing: 0,
        };
        // By tag where there is one: the digest being there does not mean that the tag names it.
        let mut named = reference.clone();
        if named.tag.is_some() {
            named.digest = None;
        }
        let scope = Scope::push(reference);
        let there = self.find_manifest(&named, &scope).await?;
        if there.is_some_and(|there| there.digest == digest) {
            return Ok(pushed);
        }
        let missing = self.missing(reference, &scope, blobs, &mut pushed).await?;
        let total = missing.iter().map(|blob| blob.descriptor.size).sum();
        let counter = Counter::new(total, progress);
        let sent: Vec<(u64, bool)> = stream::iter(missing)
            .map(|blob| {
                let counter = counter.clone();
                async move {
                    let sent = self.upload(reference, &blob, Some(counter)).await?;
                    Ok::<_, RegistryError>((blob.descriptor.size, sent))
                }
            })
            .buffer_unordered(self.options().parallel.max(1))
            .try_collect()
            .await?;
        for (size, sent) in sent {
            if sent {
                pushed.blobs_sent += 1;
                pushed.bytes_sent += size;
            } else {
                pushed.blobs_mounted += 1;
            }
        }
        self.put_manifest(reference, media_type, manifest).await?;
        pushed.manifest_sent = true;
        Ok(pushed)
    }

    /// Those of `blobs`, each once, that the registry lacks.
    async fn missing(
        &self,
        reference: &Reference,
        scope: &Scope,
        blobs: Vec<PushBlob>,
        pushed: &mut Pushed,
    ) -> Result<Vec<PushBlob>, RegistryError> {
        let mut seen = BTreeSet::new();
        let blobs = blobs
            .into_iter()
            .filter(|blob| seen.insert(blob.descriptor.digest));
        let asked: Vec<(PushBlob, bool)> = stream::iter(blobs)
            .map(|blob| async move {
                let digest = blob.descriptor.digest;
                let there = self.has_blob(reference, &digest, scope).await?;
                Ok::<_, RegistryError>((blob, there))
            })
            .buffered(ASKED)
            .try_collect()
            .await?;
        let (there, missing): (Vec<_>, Vec<_>) = asked.into_iter().partition(|(_, there)| *there);
        pushed.blobs_existing = there.len();
        Ok(missing.into_iter().map(|(blob, _)| blob).collect())
    }
}
