//! Layers compressed, once: at the first push or export.
//!
//! A layer is cut at content-defined boundaries and each piece is a gzip member of its own, so any number of
//! threads gives the same bytes, and where a piece was compressed before its member is taken from the blob
//! that has it.

use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use tbuild_digest::{BlobDigest, Sha256};
use tbuild_oci::{COMPRESSOR_ID, Chunker, compress_chunk};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use crate::{LayerRef, World};

/// The store's space for compressed layers, by compressor and diff ID.
const LAYERS: &str = "gzip-layer";
/// The store's space for members, by compressor and digest of the piece.
const MEMBERS: &str = "gzip-member";

/// A compressed layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Compressed {
    pub digest: BlobDigest,
    pub size: u64,
}

/// Where a member is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Member {
    blob: BlobDigest,
    offset: u64,
    size: u64,
}

fn name(of: &str) -> String {
    format!("{COMPRESSOR_ID} {of}")
}

/// The compressed form of `layer`, if it is in the store.
pub(crate) fn known_layer(world: &World, layer: &LayerRef) -> Result<Option<Compressed>, OpError> {
    let kept = world.store.reference(LAYERS, &name(&layer.diff_id.hex()))?;
    let Some(kept) = kept.and_then(|bytes| serde_json::from_slice::<Compressed>(&bytes).ok())
    else {
        return Ok(None);
    };
    Ok((world.store.blob_size(&kept.digest)? == Some(kept.size)).then_some(kept))
}

/// The compressed form of `layer`, made now if it is not in the store.
pub(crate) fn compressed(world: &World, layer: &LayerRef) -> Result<Compressed, OpError> {
    let store = &world.store;
    let name_of_layer = name(&layer.diff_id.hex());
    if let Some(kept) = known_layer(world, layer)? {
        return Ok(kept);
    }
    let _once = store.lock(&format!("gzip-{}", layer.diff_id.hex()))?;
    // One layer keeps all cores busy; several at once would only hold several times the memory.
    let _turn = world.compressing.lock();
    let io = |error: std::io::Error| OpError::internal(&error);
    let blob = store
        .open_blob(&layer.diff_id.as_uncompressed_blob())?
        .ok_or_else(|| OpError::Internal {
            message: format!("layer {} is not in the store", layer.diff_id),
        })?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut chunks = Chunker::new(BufReader::with_capacity(1 << 20, blob));
    let mut writer = store.blob_writer()?;
    let mut offset = 0;
    let mut fresh = Vec::new();
    loop {
        let mut batch = Vec::with_capacity(threads * 3);
        while batch.len() < threads * 3 {
            match chunks.next() {
                None => break,
                Some(chunk) => batch.push(chunk.map_err(io)?),
            }
        }
        if batch.is_empty() {
            break;
        }
        for (digest, member) in compress_batch(world, &batch, threads)? {
            writer.write_all(&member).map_err(io)?;
            fresh.push((digest, offset, member.len() as u64));
            offset += member.len() as u64;
        }
    }
    let (digest, size) = writer.commit(None)?;
    for (piece, offset, length) in fresh {
        let member = Member {
            blob: digest,
            offset,
            size: length,
        };
        put(world, MEMBERS, &name(&piece.hex()), &member)?;
    }
    let compressed = Compressed { digest, size };
    put(world, LAYERS, &name_of_layer, &compressed)?;
    Ok(compressed)
}

fn put(world: &World, space: &str, name: &str, value: &impl Serialize) -> Result<(), OpError> {
    let bytes = serde_json::to_vec(value).map_err(|error| OpError::internal(&error))?;
    Ok(world.store.set_reference(space, name, Some(&bytes))?)
}

/// The members of the pieces, in order.
fn compress_batch(
    world: &World,
    batch: &[Vec<u8>],
    threads: usize,
) -> Result<Vec<(Sha256, Vec<u8>)>, OpError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Sha256, Vec<u8>)>, OpError> {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = batch.get(at) else {
                return Ok(done);
            };
            let digest = Sha256::of(chunk);
            let member = match known(world, &digest)? {
                Some(member) => member,
                None => compress_chunk(chunk),
            };
            done.push((at, digest, member));
        }
    };
    let mut all = Vec::with_capacity(batch.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(batch.len()))
            .map(|_| scope.spawn(work))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(Ok(done)) => all.extend(done),
                Ok(Err(error)) => return Err(error),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok::<(), OpError>(())
    })?;
    all.sort_by_key(|(at, ..)| *at);
    Ok(all
        .into_iter()
        .map(|(_, digest, member)| (digest, member))
        .collect())
}

/// The member of a piece that was compressed before, if its blob is still here.
fn known(world: &World, piece: &Sha256) -> Result<Option<Vec<u8>>, OpError> {
    let kept = world.store.reference(MEMBERS, &name(&piece.hex()))?;
    let Some(member) = kept.and_then(|bytes| serde_json::from_slice::<Member>(&bytes).ok()) else {
        return Ok(None);
    };
    let Some(mut blob) = world.store.open_blob(&member.blob)? else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(usize::try_from(member.size).unwrap_or(0));
    let read = blob
        .seek(SeekFrom::Start(member.offset))
        .and_then(|_| blob.take(member.size).read_to_end(&mut bytes));
    Ok((read.is_ok() && bytes.len() as u64 == member.size).then_some(bytes))
}
