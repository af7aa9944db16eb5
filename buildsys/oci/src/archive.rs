//! Images as archives: docker-archive (`docker load`) and OCI layout. Deterministic, and streamed: a layer is
//! never held in memory.

use std::io::{self, Read, Write};

use serde_json::json;
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_tree::{Entry, Node, TreePath};

use crate::header::{BLOCK, Header, pad};
use crate::manifest::{Descriptor, Index, Manifest, media_type};

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

/// The files of an OCI image layout that holds one image. `names` become `org.opencontainers.image.ref.name`.
pub fn oci_layout<'a>(
    config: &[u8],
    layers: Vec<(Descriptor, Opener<'a>)>,
    names: &[String],
) -> (Vec<ArchiveFile<'a>>, BlobDigest) {
    let blob = |digest: &BlobDigest| format!("blobs/sha256/{}", digest.hex());
    let config_digest = BlobDigest::of(config);
    let manifest = Manifest::new(
        Descriptor::new(media_type::CONFIG, config_digest, config.len() as u64),
        layers
            .iter()
            .map(|(descriptor, _)| descriptor.clone())
            .collect(),
    )
    .to_bytes();
    let manifest_digest = BlobDigest::of(&manifest);
    let descriptor = Descriptor::new(media_type::MANIFEST, manifest_digest, manifest.len() as u64);
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
    let mut files = vec![
        bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        bytes("index.json", Index::new(entries).to_bytes()),
        bytes(blob(&manifest_digest), manifest),
        bytes(blob(&config_digest), config.to_vec()),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (descriptor, open) in layers {
        if seen.insert(descriptor.digest) {
            files.push(ArchiveFile {
                path: blob(&descriptor.digest),
                size: descriptor.size,
                open,
            });
        }
    }
    (files, manifest_digest)
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
