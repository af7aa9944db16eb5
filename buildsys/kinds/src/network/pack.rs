//! Answers that their origins may change: their bytes, kept beside the lock.
//!
//! `lockfiles/network-NAME.pack` is a tar, compressed with zstd, of bodies by the hex of their SHA-256, sorted. What
//! origins never change is not in it: it can be had again by place and digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use tbuild_digest::{BlobDigest, Sha256};
use tbuild_lock::NetworkLock;
use tbuild_netlock::Entry;
use tbuild_realise::OpError;
use tbuild_store::{Store as _, StoreError};

use crate::World;

/// How many bytes of bodies one pack may have: it goes into a repository.
const MOST: u64 = 5 << 20;

/// Good for text that is written once.
const LEVEL: i32 = 19;

type Bodies = BTreeMap<BlobDigest, u64>;

fn path(world: &World, node: &str) -> PathBuf {
    super::lockfile::path(world, node).with_extension("pack")
}

/// What of a lock belongs into its pack, and what is too much.
fn split(lock: &NetworkLock) -> (Bodies, Bodies) {
    let mut bodies: Vec<(u64, BlobDigest)> = lock
        .requests
        .iter()
        .filter(|request| request.size > 0 && !request.is_lasting())
        .map(|request| (request.size, request.sha256))
        .collect();
    bodies.sort();
    bodies.dedup();
    let (mut kept, mut left_out) = (Bodies::new(), Bodies::new());
    let mut total = 0;
    for (size, digest) in bodies {
        total += size;
        let place = if total <= MOST {
            &mut kept
        } else {
            &mut left_out
        };
        place.insert(digest, size);
    }
    (kept, left_out)
}

/// Writes the pack of a lock, unless it holds the same already; what readers are to know of it.
pub(super) fn write(world: &World, lock: &NetworkLock) -> Result<Option<String>, OpError> {
    let path = path(world, &lock.node);
    let failed =
        |error: io::Error| OpError::usage(format!("cannot write {}: {error}", path.display()));
    let (mut kept, left_out) = split(lock);
    let mut gone = Vec::new();
    let mut bodies = BTreeMap::new();
    let mut of_before = Bodies::new();
    let before = read(&path, |digest, body| {
        of_before.insert(digest, body.len() as u64);
        if kept.contains_key(&digest) {
            bodies.insert(digest, body);
        }
    });
    // What cannot be read is written anew, from the store.
    let is_whole = before.is_ok();
    for (digest, size) in &kept {
        if !bodies.contains_key(digest) {
            match world.store.read_blob(digest)? {
                Some(body) => _ = bodies.insert(*digest, body),
                None => gone.push((*digest, *size)),
            }
        }
    }
    for (digest, _) in &gone {
        kept.remove(digest);
    }
    if kept.is_empty() {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    } else if !is_whole || of_before != kept {
        let bytes = pack(&bodies).map_err(failed)?;
        crate::base::write(&path, &bytes)?;
    }
    let missing: Vec<_> = left_out
        .values()
        .chain(gone.iter().map(|(_, size)| size))
        .collect();
    Ok((!missing.is_empty()).then(|| {
        format!(
            "{} answers that their origins may change ({} bytes) are not kept with the lock: {}",
            missing.len(),
            missing.into_iter().sum::<u64>(),
            if gone.is_empty() {
                "that is too much"
            } else {
                "the store has lost them"
            }
        )
    }))
}

fn pack(bodies: &BTreeMap<BlobDigest, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), LEVEL)?);
    for (digest, body) in bodies {
        let mut header = tar::Header::new_ustar();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, digest.hex(), &body[..])?;
    }
    tar.into_inner()?.finish()
}

/// Reads a pack body by body, each checked by its digest; nothing where there is none.
fn read(path: &Path, mut take: impl FnMut(BlobDigest, Vec<u8>)) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut tar = tar::Archive::new(zstd::Decoder::new(file)?);
    for entry in tar.entries()? {
        let entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let digest = BlobDigest(Sha256::from_hex(&name).map_err(io::Error::other)?);
        let mut body = Vec::new();
        entry.take(MOST).read_to_end(&mut body)?;
        if BlobDigest::of(&body) != digest {
            let what = format!("{name} is not what it holds by that name");
            return Err(io::Error::other(what));
        }
        take(digest, body);
    }
    Ok(())
}

/// What the pack of a lock has.
pub(super) fn digests(world: &World, node: &str) -> Result<BTreeSet<BlobDigest>, OpError> {
    let path = path(world, node);
    let mut digests = BTreeSet::new();
    let done = read(&path, |digest, _| {
        digests.insert(digest);
    });
    done.map_err(|error| damaged(&path, &error))?;
    Ok(digests)
}

/// The bodies with these digests, as far as the pack of a lock or the store has them.
pub(super) fn bodies(
    world: &World,
    node: &str,
    wanted: impl IntoIterator<Item = BlobDigest>,
) -> Result<BTreeMap<BlobDigest, Vec<u8>>, OpError> {
    let mut missing: BTreeSet<BlobDigest> = wanted.into_iter().collect();
    let mut bodies = BTreeMap::new();
    if missing.is_empty() {
        return Ok(bodies);
    }
    let path = path(world, node);
    let done = read(&path, |digest, body| {
        if missing.remove(&digest) {
            bodies.insert(digest, body);
        }
    });
    done.map_err(|error| damaged(&path, &error))?;
    for digest in missing {
        if let Some(body) = world.store.read_blob(&digest)? {
            bodies.insert(digest, body);
        }
    }
    Ok(bodies)
}

fn damaged(path: &Path, error: &io::Error) -> OpError {
    OpError::Lock {
        message: format!("{} is damaged: {error}", path.display()),
        hints: vec!["take it from where the lock came from, or record the steps again".to_owned()],
    }
}

/// Puts what the store lacks of these answers into it, as far as the pack of a lock has it.
pub(super) fn fill(world: &World, node: &str, entries: &[Entry]) -> Result<(), OpError> {
    let mut missing = BTreeSet::new();
    for entry in entries {
        if world.store.blob_size(&entry.sha256)?.is_none() {
            missing.insert(entry.sha256);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let path = path(world, node);
    let mut failure: Option<StoreError> = None;
    let filled = read(&path, |digest, body| {
        if missing.remove(&digest)
            && let Err(error) = world.store.put_blob(&body)
        {
            failure.get_or_insert(error);
        }
    });
    match (filled, failure) {
        (_, Some(error)) => Err(error.into()),
        (Err(error), None) => Err(damaged(&path, &error)),
        (Ok(()), None) => Ok(()),
    }
}
