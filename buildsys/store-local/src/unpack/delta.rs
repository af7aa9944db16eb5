//! Snapshots that hold only what differs from another layer's, so that one edited file of ten thousand does
//! not unpack all of them again. overlayfs shows both folders as one layer: the delta over its base.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;

use tbuild_digest::{DiffId, HashingReader};
use tbuild_oci::LayerIndex;
use tbuild_store::{Store as _, StoreError};
use tbuild_tree::{Entry, Node, TreePath};

use super::{UnpackError, Unpacker, root::Root, unpack_failed};
use crate::{LocalStore, io as store_io, snapshots};

/// A layer with more than one entry of this many changed is unpacked whole: the delta after the next would
/// hold as much again.
const ONE_IN: usize = 8;

impl LocalStore {
    /// The folders that show the layer `diff_id`, topmost first: its own snapshot where there is one or has to
    /// be, else what differs from `base` over the snapshot of that. Contents are checked by their digests.
    pub fn ensure_snapshot_over(
        &self,
        (diff_id, layer): (&DiffId, &LayerIndex),
        (base_id, base): (&DiffId, &LayerIndex),
    ) -> Result<Vec<PathBuf>, StoreError> {
        if let Some(whole) = self.snapshot(diff_id)? {
            return Ok(vec![whole]);
        }
        let (Some(below), Some(changed)) = (self.snapshot(base_id)?, difference(base, layer))
        else {
            return Ok(vec![self.ensure_snapshot(diff_id)?]);
        };
        let name = format!("{}.over.{}", diff_id.hex(), base_id.hex());
        let target = self.layout().snapshots().join(name);
        if !target.exists() {
            let _lock = self.lock(&format!("snapshot-{}", &diff_id.hex()[..2]))?;
            if !target.exists() {
                let staging = self.stage()?;
                self.unpack_some(diff_id, layer, &changed, staging.upper())?;
                snapshots::place(staging.upper(), &target)?;
            }
        }
        Ok(vec![target, below])
    }

    fn unpack_some(
        &self,
        diff_id: &DiffId,
        layer: &LayerIndex,
        changed: &[&Entry],
        upper: &std::path::Path,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::io(format!("unpack layer {diff_id}"), source);
        let blob = diff_id.as_uncompressed_blob();
        let mut tar = store_io::open(&self.blob_path(&blob))?.ok_or_else(|| {
            failed(io::Error::new(
                io::ErrorKind::NotFound,
                "its blob is not in the store",
            ))
        })?;
        let mut unpacker = Unpacker {
            root: Root::open(upper).map_err(|error| unpack_failed(diff_id, error))?,
            buffer: vec![0; 256 * 1024],
        };
        for entry in changed {
            let Node::File { size, digest } = &entry.node else {
                unpacker
                    .put(entry, false, &mut io::empty())
                    .map_err(|error| unpack_failed(diff_id, error))?;
                continue;
            };
            let offset = layer.offset(&entry.path).unwrap_or(u64::MAX);
            tar.seek(SeekFrom::Start(offset)).map_err(failed)?;
            let mut content = HashingReader::new((&mut tar).take(*size));
            let unpacked = unpacker.put(entry, false, &mut content);
            let short = matches!(unpacked, Err(UnpackError::Layer(_)));
            if short || (unpacked.is_ok() && content.finish().0 != *digest) {
                self.quarantine(&blob)?;
                return Err(StoreError::Corrupt(blob));
            }
            unpacked.map_err(|error| unpack_failed(diff_id, error))?;
        }
        let finished = unpacker.root.finish();
        finished.map_err(|error| unpack_failed(diff_id, error))
    }
}

/// The entries of `layer` that its `base` does not show as they are, with the folders that lead to them. None
/// where two folders cannot show it: where something of the base is gone, where folders and other things
/// trade places, where files have several names or hide what is below; or where too much differs.
fn difference<'a>(base: &LayerIndex, layer: &'a LayerIndex) -> Option<Vec<&'a Entry>> {
    let (old, new) = (base.tree().entries(), layer.tree().entries());
    let plain = |entry: &Entry| {
        !entry.opaque && !matches!(entry.node, Node::Whiteout | Node::Hardlink { .. })
    };
    if !old.iter().chain(new).all(plain) {
        return None;
    }
    let mut before = old.iter().peekable();
    let mut changed: BTreeSet<&TreePath> = BTreeSet::new();
    for entry in new {
        // Both are sorted by path: what the base has before this path is gone.
        let known = before.next_if(|other| other.path <= entry.path);
        match known {
            Some(known) if known == entry => {}
            Some(known) if known.path != entry.path => return None,
            Some(known) if known.is_directory() != entry.is_directory() => return None,
            _ => {
                changed.insert(&entry.path);
            }
        }
    }
    if before.next().is_some() || changed.len() * ONE_IN > new.len() {
        return None;
    }
    let mut lead: BTreeSet<TreePath> = BTreeSet::new();
    for path in &changed {
        let mut above = path.parent();
        while let Some(folder) = above {
            above = folder.parent();
            if !lead.insert(folder) {
                break;
            }
        }
    }
    let wanted = |entry: &&Entry| changed.contains(&entry.path) || lead.contains(&entry.path);
    Some(new.iter().filter(wanted).collect())
}
