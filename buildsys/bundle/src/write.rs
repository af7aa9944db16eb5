//! Writing a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use tar::{Builder, EntryType, Header};
use tbuild_digest::{ActionKey, BlobDigest, Sha256};
use tbuild_graph::Field;
use tbuild_realise::Record;
use tbuild_store::{Store, StoreError};

use crate::BundleError;
use crate::format::{ACTIONS, BLOBS, MANIFEST, Manifest, REFERENCES, Reference, VERSION};

/// Level of zstd: what is in a bundle is mostly what does not get smaller, or what every level makes small.
const LEVEL: i32 = 3;

/// What is to be in a bundle.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// What it is for.
    pub targets: Vec<String>,
    /// Actions whose records, and the blobs that they name as far as they are there, are in it.
    pub actions: BTreeSet<ActionKey>,
    /// Texts that name blobs by their digests, such as lockfiles: those that are there are in it.
    pub texts: Vec<String>,
    /// Spaces of references: those of their references that name nothing but what is in the bundle are in it.
    pub spaces: Vec<&'static str>,
    /// Blobs that are not in it, whatever names them.
    pub left_out: BTreeSet<BlobDigest>,
    /// References that are in it besides: spaces, names, values. The blobs that they name are in it.
    pub references: Vec<(String, String, String)>,
    /// Fields of records' manifests that name no blob of it.
    pub without: Vec<&'static str>,
}

/// The digests that a record names.
fn named(record: &[u8], without: &[&str]) -> Vec<BlobDigest> {
    let read = || serde_json::from_slice::<Record>(record).ok();
    let shortened = (!without.is_empty())
        .then(read)
        .flatten()
        .map(|mut record| {
            let is_named = |field: &Field| !without.contains(&field.name.as_str());
            record.manifest.fields.retain(is_named);
            record
        });
    let text = shortened.and_then(|record| serde_json::to_string(&record).ok());
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(record).into_owned());
    Sha256::named_in(&text).map(BlobDigest).collect()
}

/// Writes a bundle to `out`. `progress` is told the bytes of blobs written so far and in all.
pub fn write(
    store: &dyn Store,
    content: &Content,
    out: impl Write,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Manifest, BundleError> {
    let mut records = BTreeMap::new();
    let mut digests: BTreeSet<BlobDigest> = BTreeSet::new();
    for key in &content.actions {
        let record = store.action(key)?.ok_or(BundleError::NoRecord(*key))?;
        digests.extend(named(&record, &content.without));
        records.insert(*key, record);
    }
    let values = content.references.iter().map(|(_, _, value)| value);
    for text in content.texts.iter().chain(values) {
        digests.extend(Sha256::named_in(text).map(BlobDigest));
    }
    let mut blobs = BTreeMap::new();
    for digest in digests.difference(&content.left_out).copied() {
        if let Some(size) = store.blob_size(&digest)? {
            blobs.insert(digest, size);
        }
    }
    let manifest = Manifest {
        version: VERSION,
        targets: content.targets.clone(),
        actions: records.len() as u64,
        blobs: blobs.len() as u64,
        bytes: blobs.values().sum(),
    };
    let encoder = zstd::Encoder::new(out, LEVEL).map_err(BundleError::Write)?;
    let mut tar = Builder::new(encoder);
    member(&mut tar, MANIFEST, &json(&manifest)?)?;
    let mut written = 0;
    for (digest, size) in &blobs {
        progress(written, manifest.bytes);
        let blob = store.open_blob(digest)?;
        let blob = blob.ok_or_else(|| {
            StoreError::io(
                format!("read blob {digest}"),
                std::io::ErrorKind::NotFound.into(),
            )
        })?;
        let mut header = header(*size);
        tar.append_data(&mut header, format!("{BLOBS}{}", digest.hex()), blob)
            .map_err(BundleError::Write)?;
        written += size;
    }
    for (key, record) in &records {
        member(&mut tar, &format!("{ACTIONS}{}", key.hex()), record)?;
    }
    let mut references = references(store, &content.spaces, &blobs)?;
    references.extend(content.references.iter().cloned());
    references.sort();
    references.dedup();
    member(&mut tar, REFERENCES, &json(&references)?)?;
    let encoder = tar.into_inner().map_err(BundleError::Write)?;
    let mut out = encoder.finish().map_err(BundleError::Write)?;
    out.flush().map_err(BundleError::Write)?;
    progress(written, manifest.bytes);
    Ok(manifest)
}

/// References that name a blob of the bundle, and none that is not in it.
fn references(
    store: &dyn Store,
    spaces: &[&str],
    blobs: &BTreeMap<BlobDigest, u64>,
) -> Result<Vec<Reference>, BundleError> {
    let mut found = Vec::new();
    for space in spaces {
        for name in store.references(space)? {
            let Some(value) = store.reference(space, &name)? else {
                continue;
            };
            let Ok(value) = String::from_utf8(value) else {
                continue;
            };
            let named: Vec<_> = Sha256::named_in(&value).map(BlobDigest).collect();
            if !named.is_empty() && named.iter().all(|digest| blobs.contains_key(digest)) {
                found.push(((*space).to_owned(), name, value));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, BundleError> {
    serde_json::to_vec(value).map_err(|error| BundleError::Write(error.into()))
}

fn header(size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn member(tar: &mut Builder<impl Write>, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
    let mut header = header(bytes.len() as u64);
    tar.append_data(&mut header, name, bytes)
        .map_err(BundleError::Write)
}
