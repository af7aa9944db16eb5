//! Images as archives: docker-archive (`docker load`) and OCI layout. Deterministic, and streamed: a layer is
//! never held in memory.

use std::io::{self, Read, Write};

use serde_json::json;
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_tree::{Entry, Node, TreePath};

use crate::header::{BLOCK, Header, pad};
use crate::manifest::{Descriptor, Index, Manifest, Platform, media_type};

/// Opens a blob; called once a use.
pub type Opener<'a> = Box<dyn Fn() -> io::Result<Box<dyn Read + 'a>> + 'a>;

/// One file of an archive.
pub struct ArchiveFile<'a> {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub open: Opener<'a>,
}

fn bytes<'a>(path: impl Into<String>, content: Vec<u8>) -> ArchiveFile<'a> {
    let size = content.len() as u64;
    ArchiveFile {
        path: path.into(),
        size,
        open: Box::new(move || Ok(Box::new(io::Cursor::new(content.clone())))),
    }
}

/// A layer for a docker-archive: uncompressed.
pub struct PlainLayer<'a> {
    /// Its diff ID.
    pub diff_id: DiffId,
    /// Bytes of its tar.
    pub size: u64,
    /// Its tar.
    pub open: Opener<'a>,
}

/// The files of a docker-archive, as `docker save` lays it out: config and layers by digest, and a list.
pub fn docker_archive<'a>(
    config: &[u8],
    layers: Vec<PlainLayer<'a>>,
    names: &[String],
) -> Vec<ArchiveFile<'a>> {
    let config_name = format!("{}.json", BlobDigest::of(config).hex());
    let layer_name = |layer: &PlainLayer<'_>| format!("{}/layer.tar", layer.diff_id.hex());
    let list = json!([{
        "Config": config_name,
        "RepoTags": names,
        "Layers": layers.iter().map(layer_name).collect::<Vec<_>>(),
    }]);
    let mut files = vec![
        bytes("manifest.json", list.to_string().into_bytes()),
        bytes(config_name, config.to_vec()),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for layer in layers {
        // A layer that an image has twice is one file.
        if seen.insert(layer.diff_id) {
            files.push(ArchiveFile {
                path: layer_name(&layer),
                size: layer.size,
                open: layer.open,
            });
        }
    }
    files
}

/// One of several images: what it is for, its config, its layers with where to read them.
pub struct PlatformImage<'a> {
    /// What it is for.
    pub platform: Platform,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The layers, lowest first.
    pub layers: Vec<(Descriptor, Opener<'a>)>,
}

/// The files of an OCI image layout that holds one image. `names` become `org.opencontainers.image.ref.name`.
pub fn oci_layout<'a>(
    config: &[u8],
    layers: Vec<(Descriptor, Opener<'a>)>,
    names: &[String],
) -> (Vec<ArchiveFile<'a>>, BlobDigest) {
    let mut blobs = Blobs::default();
    let descriptor = blobs.image(config, layers);
    let digest = descriptor.digest;
    (blobs.layout(descriptor, names), digest)
}

/// The same of one index: an image a platform, in order.
pub fn oci_index_layout<'a>(
    images: Vec<PlatformImage<'a>>,
    names: &[String],
) -> (Vec<ArchiveFile<'a>>, BlobDigest) {
    let mut blobs = Blobs::default();
    let manifests = images.into_iter().map(|image| {
        let mut descriptor = blobs.image(&image.config, image.layers);
        descriptor.platform = Some(image.platform);
        descriptor
    });
    let index = Index::new(manifests.collect()).to_bytes();
    let digest = BlobDigest::of(&index);
    let descriptor = Descriptor::new(media_type::INDEX, digest, index.len() as u64);
    blobs.documents.insert(0, (digest, index));
    (blobs.layout(descriptor, names), digest)
}

/// The blobs of a layout: what is small first.
#[derive(Default)]
struct Blobs<'a> {
    documents: Vec<(BlobDigest, Vec<u8>)>,
    layers: Vec<(Descriptor, Opener<'a>)>,
}

impl<'a> Blobs<'a> {
    /// Adds an image and its manifest, which it describes.
    fn image(&mut self, config: &[u8], layers: Vec<(Descriptor, Opener<'a>)>) -> Descriptor {
        let config_digest = BlobDigest::of(config);
        let manifest = Manifest::new(
            Descriptor::new(media_type::CONFIG, config_digest, config.len() as u64),
            layers
                .iter()
                .map(|(descriptor, _)| descriptor.clone())
                .collect(),
        )
        .to_bytes();
        let digest = BlobDigest::of(&manifest);
        let descriptor = Descriptor::new(media_type::MANIFEST, digest, manifest.len() as u64);
        self.documents.push((digest, manifest));
        self.documents.push((config_digest, config.to_vec()));
        self.layers.extend(layers);
        descriptor
    }

    /// All files of the layout whose index.json points at `descriptor`, once a name.
    fn layout(self, descriptor: Descriptor, names: &[String]) -> Vec<ArchiveFile<'a>> {
        let mut files = vec![
            bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
            bytes("index.json", named(descriptor, names).to_bytes()),
        ];
        let path = |digest: &BlobDigest| format!("blobs/sha256/{}", digest.hex());
        let mut seen = std::collections::BTreeSet::new();
        for (digest, document) in self.documents {
            if seen.insert(digest) {
                files.push(bytes(path(&digest), document));
            }
        }
        for (descriptor, open) in self.layers {
            if seen.insert(descriptor.digest) {
                files.push(ArchiveFile {
                    path: path(&descriptor.digest),
                    size: descriptor.size,
                    open,
                });
            }
        }
        files
    }
}

/// The index of a layout.
fn named(descriptor: Descriptor, names: &[String]) -> Index {
    let mut entries: Vec<Descriptor> = names
        .iter()
        .map(|name| {
            let mut named = descriptor.clone();
            named
                .annotations
                .insert("org.opencontainers.image.ref.name".to_owned(), name.clone());
            named
        })
        .collect();
    if entries.is_empty() {
        entries.push(descriptor);
    }
    Index::new(entries)
}

/// Writes files as a tar: given order, folders before what is in them, canonical headers.
pub fn write_archive(files: &[ArchiveFile<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut folders = std::collections::BTreeSet::new();
    let mut header = Vec::new();
    let mut put = |name: &[u8], kind: u8, size: u64, mode: u32, out: &mut dyn Write| {
        header.clear();
        let entry = Entry::new(TreePath::root(), mode, Node::Fifo);
        Header {
            name,
            kind,
            link: b"",
            size,
            device: (0, 0),
            entry: &entry,
        }
        .encode(&mut header);
        out.write_all(&header)
    };
    for file in files {
        let parents = file
            .path
            .match_indices('/')
            .map(|(at, _)| file.path[..=at].to_owned());
        for folder in parents.collect::<Vec<_>>() {
            if folders.insert(folder.clone()) {
                put(folder.as_bytes(), b'5', 0, 0o755, out)?;
            }
        }
        put(file.path.as_bytes(), b'0', file.size, 0o644, out)?;
        let copied = io::copy(&mut (file.open)()?, out)?;
        if copied != file.size {
            let message = format!(
                "{}: {copied} bytes where {} were promised",
                file.path, file.size
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let mut padding = Vec::new();
        pad(&mut padding, file.size);
        out.write_all(&padding)?;
    }
    out.write_all(&[0; 2 * BLOCK])
}
