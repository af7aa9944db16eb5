//! Reading a bundle into a store.

use std::io::Read;

use tar::{Archive, Entry, EntryType};
use tbuild_digest::{ActionKey, BlobDigest, Sha256};
use tbuild_realise::Record;
use tbuild_store::{Store, StoreError};

use crate::BundleError;
use crate::format::{ACTIONS, BLOBS, LARGEST, MANIFEST, Manifest, REFERENCES, Reference, VERSION};

/// What came out of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Blobs that the store did not have.
    pub new_blobs: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Records that the store did not have.
    pub new_actions: u64,
}

/// Reads a bundle into `store`. Blobs come before the records that name them, so that one that turns out to be damaged
/// leaves a store in which nothing is wrong. References are taken into `spaces` alone. `progress` is told the bytes of
/// blobs read so far and in all.
pub fn load(
    store: &dyn Store,
    input: impl Read,
    spaces: &[&str],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Loaded, BundleError> {
    let decoder = zstd::Decoder::new(input).map_err(BundleError::Read)?;
    let mut tar = Archive::new(decoder);
    let mut members = tar.entries().map_err(BundleError::Read)?;
    let mut loaded = Loaded {
        manifest: manifest(members.next())?,
        new_blobs: 0,
        new_bytes: 0,
        new_actions: 0,
    };
    let (mut blobs, mut bytes, mut actions) = (0, 0, 0);
    let mut ended = false;
    for member in members {
        let mut member = member.map_err(BundleError::Read)?;
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let digest = |prefix: &str| {
            let hex = name.strip_prefix(prefix)?;
            Sha256::from_hex(hex).ok()
        };
        if ended || member.header().entry_type() != EntryType::Regular {
            return Err(BundleError::Member(name));
        } else if let Some(digest) = digest(BLOBS) {
            progress(bytes, loaded.manifest.bytes);
            bytes += member.size();
            blobs += 1;
            let size = member.size();
            if blob(store, BlobDigest(digest), &mut member)? {
                loaded.new_blobs += 1;
                loaded.new_bytes += size;
            }
        } else if let Some(digest) = digest(ACTIONS) {
            actions += 1;
            loaded.new_actions += u64::from(record(store, ActionKey(digest), &mut member)?);
        } else if name == REFERENCES {
            references(store, spaces, &mut member)?;
            ended = true;
        } else {
            return Err(BundleError::Member(name));
        }
    }
    progress(bytes, loaded.manifest.bytes);
    let named = &loaded.manifest;
    for (what, found, named) in [
        ("blobs", blobs, named.blobs),
        ("records", actions, named.actions),
        ("lists of references", u64::from(ended), 1),
    ] {
        if found != named {
            return Err(BundleError::Short { what, found, named });
        }
    }
    Ok(loaded)
}

fn manifest<R: Read>(
    first: Option<std::io::Result<Entry<'_, R>>>,
) -> Result<Manifest, BundleError> {
    let nothing = || BundleError::Format("there is nothing in it".to_owned());
    let mut member = first.ok_or_else(nothing)?.map_err(BundleError::Read)?;
    if &*member.path_bytes() != MANIFEST.as_bytes() {
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        return Err(BundleError::Format(format!(
            "it begins with {name}, not with {MANIFEST}"
        )));
    }
    let bytes = whole(&mut member)?;
    let wrong = |error: serde_json::Error| BundleError::Format(format!("{MANIFEST}: {error}"));
    // The version first: another one may have other fields.
    let any: serde_json::Value = serde_json::from_slice(&bytes).map_err(wrong)?;
    if any["version"] != VERSION {
        return Err(BundleError::Format(format!(
            "its version is {}, this tbuild reads {VERSION}",
            any["version"]
        )));
    }
    serde_json::from_value(any).map_err(wrong)
}

/// A small member's bytes.
fn whole(member: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, BundleError> {
    if member.size() > LARGEST {
        let name = String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let size = member.size();
        return Err(BundleError::Format(format!(
            "{name} has {size} bytes, the most is {LARGEST}"
        )));
    }
    let mut bytes = Vec::new();
    member.read_to_end(&mut bytes).map_err(BundleError::Read)?;
    Ok(bytes)
}

/// Whether the store did not have it.
fn blob(
    store: &dyn Store,
    name: BlobDigest,
    member: &mut Entry<'_, impl Read>,
) -> Result<bool, BundleError> {
    if store.blob_size(&name)?.is_some() {
        return Ok(false);
    }
    let mut writer = store.blob_writer()?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = member.read(&mut buffer).map_err(BundleError::Read)?;
        if count == 0 {
            break;
        }
        writer
            .write_all(&buffer[..count])
            .map_err(|source| StoreError::io(format!("write blob {name}"), source))?;
    }
    match writer.commit(Some(&name)) {
        Ok(_) => Ok(true),
        Err(source @ StoreError::Mismatch { .. }) => Err(BundleError::Blob { name, source }),
        Err(error) => Err(error.into()),
    }
}

/// Whether the store did not have it.
fn record(
    store: &dyn Store,
    key: ActionKey,
    member: &mut Entry<'_, impl Read>,
) -> Result<bool, BundleError> {
    let bytes = whole(member)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|_| BundleError::Record(key))?;
    if record.manifest.key() != key {
        return Err(BundleError::Record(key));
    }
    if store.action(&key)?.is_some() {
        return Ok(false);
    }
    store.put_action(&key, &bytes)?;
    Ok(true)
}

/// Those that the store has already stay as they are.
fn references(
    store: &dyn Store,
    spaces: &[&str],
    member: &mut Entry<'_, impl Read>,
) -> Result<(), BundleError> {
    let bytes = whole(member)?;
    let references: Vec<Reference> = serde_json::from_slice(&bytes)
        .map_err(|error| BundleError::Format(format!("{REFERENCES}: {error}")))?;
    for (space, name, value) in references {
        if !spaces.contains(&space.as_str()) {
            return Err(BundleError::Format(format!(
                "it has references in {space:?}, where bundles have none"
            )));
        }
        if !store.has_reference(&space, &name)? {
            store.set_reference(&space, &name, Some(value.as_bytes()))?;
        }
    }
    Ok(())
}
