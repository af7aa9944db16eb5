//! The lockfile of an image's steps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_lock::{Kind, NetworkLock, RequestLock, StepLock, changes, file_name, packages};
use tbuild_netlock::Entry;
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use super::Recorded;
use crate::World;
use crate::world::today;

/// Where the lock of a node is.
pub(super) fn path(world: &World, node: &str) -> PathBuf {
    let folder = world.project.join("lockfiles");
    folder.join(file_name(Kind::Network, node))
}

/// The lock of a node, as this run of tbuild knows it; an empty one where there is none.
pub(crate) fn read(world: &World, node: &str) -> Result<Arc<NetworkLock>, OpError> {
    let known = |world: &World| world.recordings.locks.lock().ok()?.get(node).cloned();
    match known(world) {
        Some(lock) => Ok(lock),
        None => Ok(know(world, node, read_file(world, node)?)),
    }
}

fn know(world: &World, node: &str, lock: NetworkLock) -> Arc<NetworkLock> {
    let lock = Arc::new(lock);
    if let Ok(mut locks) = world.recordings.locks.lock() {
        locks.insert(node.to_owned(), Arc::clone(&lock));
    }
    lock
}

fn read_file(world: &World, node: &str) -> Result<NetworkLock, OpError> {
    let lock = at(&path(world, node))?;
    Ok(lock.unwrap_or_else(|| NetworkLock::new(node)))
}

/// The lock in a file; none where there is no file.
pub(super) fn at(path: &Path) -> Result<Option<NetworkLock>, OpError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(OpError::usage(format!(
                "cannot read {}: {error}",
                path.display()
            )));
        }
    };
    let lock = NetworkLock::parse(&path.display().to_string(), &text);
    lock.map(Some).map_err(|error| OpError::Lock {
        message: error.to_string(),
        hints: Vec::new(),
    })
}

/// Writes what a step asked for into the lock of its node, and says what that changes for readers. Steps of one image
/// may end at the same time.
pub(super) fn put(world: &World, of: &Recorded, entries: &[Entry]) -> Result<Vec<String>, OpError> {
    let _guard = world.store.lock(&format!("network-{}", of.of.name))?;
    // Another tbuild may have written it since.
    let mut lock = read_file(world, &of.of.name)?;
    let before = lock.clone();
    let step = StepLock {
        when: Some(today()),
        ..of.step.clone()
    };
    lock.put(step, entries.iter().map(RequestLock::from));
    if lock == before {
        know(world, &of.of.name, lock);
        return Ok(Vec::new());
    }
    // First what the lock speaks of.
    let left_out = super::pack::write(world, &lock)?;
    crate::base::write(&path(world, &of.of.name), lock.to_text())?;
    let lock = know(world, &of.of.name, lock);
    let now = packages(lock.of_step(&of.step.id).into_iter().flatten());
    let mut told = match before.of_step(&of.step.id) {
        Some(requests) => changes(&packages(requests), &now),
        None if entries.is_empty() => Vec::new(),
        None => vec![format!(
            "locked {} requests; packages among them: {}",
            entries.len(),
            now.len()
        )],
    };
    told.extend(left_out.map(|what| format!("{what}; {}", of.of.reduction())));
    Ok(told)
}

/// The steps of a lock that are none of these: what they asked for is locked for nobody.
pub fn stale(world: &World, lock: &str, ids: &BTreeSet<String>) -> Result<Vec<StepLock>, OpError> {
    let lock = read_file(world, lock)?;
    let stale = lock.steps.into_iter();
    Ok(stale.filter(|step| !ids.contains(&step.id)).collect())
}

/// Takes the steps out of a lock that are none of these, with what they alone asked for; what was taken out.
pub fn prune(world: &World, lock: &str, ids: &BTreeSet<String>) -> Result<Vec<StepLock>, OpError> {
    let _guard = world.store.lock(&format!("network-{lock}"))?;
    let file = path(world, lock);
    let mut lock = read_file(world, lock)?;
    let gone = lock.keep(ids);
    if gone.is_empty() {
        return Ok(gone);
    }
    if lock.steps.is_empty() {
        std::fs::remove_file(&file).map_err(|error| {
            OpError::usage(format!("cannot remove {}: {error}", file.display()))
        })?;
    } else {
        crate::base::write(&file, lock.to_text())?;
    }
    // Last what the lock speaks of no more.
    super::pack::write(world, &lock)?;
    let node = lock.node.clone();
    know(world, &node, lock);
    Ok(gone)
}
