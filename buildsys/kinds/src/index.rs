//! What an image, or images of several platforms, come to in a registry: manifests, and an index over them.

use std::sync::Arc;

use tbuild_digest::BlobDigest;
use tbuild_oci::{Descriptor, Index, Manifest, media_type};
use tbuild_realise::{OpError, Output};

use crate::gzip::{Compressed, compressed, known_layer};
use crate::{ImageValue, IndexValue, LayerRef, World};

/// A manifest with all that it names.
#[derive(Debug, Clone)]
pub(crate) struct ManifestDocument {
    pub bytes: Vec<u8>,
    /// The config, then the layers.
    pub blobs: Vec<Descriptor>,
}

/// What one name stands for in a registry.
#[derive(Debug, Clone)]
pub(crate) struct Documents {
    pub manifests: Vec<ManifestDocument>,
    /// The index over the manifests, where there is one.
    pub index: Option<Vec<u8>>,
}

impl Documents {
    /// The document that the name stands for, and its media type.
    pub fn top(&self) -> (&'static str, &[u8]) {
        match (&self.index, self.manifests.first()) {
            (Some(index), _) => (media_type::INDEX, index),
            (None, Some(manifest)) => (media_type::MANIFEST, &manifest.bytes),
            (None, None) => (media_type::MANIFEST, &[]),
        }
    }

    /// Its digest.
    pub fn digest(&self) -> BlobDigest {
        BlobDigest::of(self.top().1)
    }
}

/// An image, or several as one.
#[derive(Debug, Clone)]
pub enum Built {
    /// An image.
    Image(Arc<ImageValue>),
    /// Images of several platforms.
    Index(Arc<IndexValue>),
}

impl Built {
    /// What a node came to, if it is an image or an index.
    pub fn of(output: &Output) -> Option<Self> {
        let image = output.get::<ImageValue>().map(Self::Image);
        image.or_else(|| output.get::<IndexValue>().map(Self::Index))
    }

    /// The images.
    pub fn images(&self) -> Vec<&ImageValue> {
        match self {
            Self::Image(image) => vec![image],
            Self::Index(index) => index.images.iter().map(|(_, image)| &**image).collect(),
        }
    }

    /// The image that this machine runs: the only one, or the one for its platform.
    pub fn here(&self, world: &World) -> Option<Arc<ImageValue>> {
        match self {
            Self::Image(image) => Some(Arc::clone(image)),
            Self::Index(index) => {
                let machine = world.machine_platform();
                let mut images = index.images.iter();
                let own = images.find(|(platform, _)| *platform == machine);
                own.map(|(_, image)| Arc::clone(image))
            }
        }
    }

    /// What it is known by: the digest of an image's config, as Docker has it, or of an index, whose layers are
    /// compressed for it.
    pub fn id(&self, world: &World) -> Result<BlobDigest, OpError> {
        match self {
            Self::Image(image) => Ok(image.id),
            Self::Index(_) => Ok(self.documents(world)?.digest()),
        }
    }

    /// The documents; layers that are not compressed yet are now.
    pub(crate) fn documents(&self, world: &World) -> Result<Documents, OpError> {
        let made = |layer: &LayerRef| compressed(world, layer).map(Some);
        self.with(made)?.ok_or_else(|| OpError::Internal {
            message: "a layer that was compressed is not".to_owned(),
        })
    }

    /// The documents, if all layers are compressed already.
    pub(crate) fn known_documents(&self, world: &World) -> Result<Option<Documents>, OpError> {
        self.with(|layer| known_layer(world, layer))
    }

    fn with(
        &self,
        packed: impl Fn(&LayerRef) -> Result<Option<Compressed>, OpError>,
    ) -> Result<Option<Documents>, OpError> {
        let mut manifests = Vec::new();
        for image in self.images() {
            let config = Descriptor::new(media_type::CONFIG, image.id, image.config.len() as u64);
            let mut layers = Vec::new();
            for layer in &image.state.layers {
                let Some(layer) = packed(layer)? else {
                    return Ok(None);
                };
                let kind = media_type::LAYER_GZIP;
                layers.push(Descriptor::new(kind, layer.digest, layer.size));
            }
            let bytes = Manifest::new(config.clone(), layers.clone()).to_bytes();
            let blobs = std::iter::once(config).chain(layers).collect();
            manifests.push(ManifestDocument { bytes, blobs });
        }
        let index = match self {
            Self::Image(_) => None,
            Self::Index(index) => {
                let described = index.images.iter().zip(&manifests);
                let described = described.map(|((platform, _), manifest)| {
                    let digest = BlobDigest::of(&manifest.bytes);
                    let size = manifest.bytes.len() as u64;
                    let mut descriptor = Descriptor::new(media_type::MANIFEST, digest, size);
                    descriptor.platform = Some(described_as(platform));
                    descriptor
                });
                Some(Index::new(described.collect()).to_bytes())
            }
        };
        Ok(Some(Documents { manifests, index }))
    }
}

/// A platform as documents have it.
pub(crate) fn described_as(platform: &tbuild_dockerfile::Platform) -> tbuild_oci::Platform {
    tbuild_oci::Platform {
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: Some(platform.variant.clone()).filter(|variant| !variant.is_empty()),
    }
}
