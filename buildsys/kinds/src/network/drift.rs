//! What of locked networks their origins have no more.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tbuild_lock::{Kind, RequestLock};
use tbuild_netlock::Entry;
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use super::{StepsLock, lockfile, pack, places, upstream};
use crate::World;

/// How many origins are asked at a time.
const AT_ONCE: usize = 16;

/// A locked answer that no origin has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The name of its lock.
    pub lock: String,
    /// What was asked for: origin and path.
    pub request: String,
    /// The ids of the steps that asked.
    pub steps: Vec<String>,
    /// Whether this store has it still.
    pub is_stored: bool,
}

/// What of these locks is nowhere to be had: no origin has it, and it is not kept with the lock. Asks origins for what
/// they never change, by name and size alone; where nobody knows who serves it, it is taken to be there.
pub async fn gone(world: &World, locks: &[StepsLock]) -> Result<Vec<Gone>, OpError> {
    let upstream = upstream(world)?;
    let places = places(world);
    let mut gone = Vec::new();
    for of in locks {
        let lock = lockfile::read(world, &of.name)?;
        let kept = pack::digests(world, &of.name)?;
        let elsewhere = lock
            .requests
            .iter()
            .filter(|request| request.size > 0 && !kept.contains(&request.sha256));
        let asked = stream::iter(elsewhere)
            .map(async |request| {
                // What an origin may change is had from the pack or not at all.
                let is_gone = !request.is_lasting()
                    || upstream.has(&places, &Entry::from(request)).await? == Some(false);
                Ok(is_gone.then_some(request))
            })
            .buffered(AT_ONCE)
            .try_filter_map(async |found| Ok(found));
        let found: Vec<&RequestLock> = asked
            .try_collect()
            .await
            .map_err(|error: tbuild_netlock::UpstreamError| OpError::unreachable(&error))?;
        for request in found {
            gone.push(Gone {
                lock: of.name.clone(),
                request: format!("{}/{}", request.origin, request.path),
                steps: request.steps.clone(),
                is_stored: world.store.blob_size(&request.sha256)?.is_some(),
            });
        }
    }
    Ok(gone)
}

/// Keeps with these locks what belongs to them, as far as the store has it; what readers are to know of it.
pub fn pack_again(world: &World, locks: &[StepsLock]) -> Result<Vec<String>, OpError> {
    let mut told = Vec::new();
    for of in locks {
        let _guard = world.store.lock(&format!("network-{}", of.name))?;
        told.extend(pack::write(world, &*lockfile::read(world, &of.name)?)?);
    }
    Ok(told)
}

/// The network locks of a project, by what its files say.
pub fn network_locks(world: &World) -> Result<Vec<StepsLock>, OpError> {
    let folder = world.project.join("lockfiles");
    let Ok(found) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let start = format!("{}-", Kind::Network);
    let mut names = BTreeSet::new();
    for file in found.flatten() {
        let path = file.path();
        let is_lock = path.extension().is_some_and(|end| end == "lock");
        if !is_lock || !file.file_name().to_string_lossy().starts_with(&start) {
            continue;
        }
        names.extend(lockfile::at(&path)?.map(|lock| lock.node));
    }
    let lock = |name| StepsLock {
        name,
        nodes: Vec::new(),
        ports: Vec::new(),
    };
    Ok(names.into_iter().map(lock).collect())
}
