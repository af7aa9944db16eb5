//! What stays.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use tbuild_digest::Sha256;
use tbuild_store::StoreError;

use super::Policy;
use super::inventory::{Entry, Inventory, Reference};
use crate::{io, record};

/// Documents of images are at most so large (OCI distribution spec, "Pushing manifests": 4 MiB).
const LONGEST_DOCUMENT: u64 = 4 * 1024 * 1024;

/// What stays.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Digests of blobs and layers that stay, and others that texts name.
    pub named: BTreeSet<Sha256>,
    /// Keys of actions.
    pub actions: BTreeSet<Sha256>,
    /// References that stay for themselves, by their place in the inventory.
    pub references: BTreeSet<usize>,
    /// Caches, likewise.
    pub caches: BTreeSet<usize>,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Those of roots and what they need.
    pub rooted: u64,
}

impl Kept {
    /// Whether a reference stays: for itself, or for what it is about or names.
    pub fn keeps(&self, place: usize, reference: &Reference) -> bool {
        let is_named =
            |digest: &Sha256| self.named.contains(digest) || self.actions.contains(digest);
        if reference.is_hint {
            return reference.of.iter().chain(&reference.names).all(is_named);
        }
        self.references.contains(&place)
            || reference.is_memory
            || reference.of.iter().any(is_named)
            || reference.names.iter().any(is_named)
    }
}

/// Something that stays if it was used lately enough, with all that it names.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Action(Sha256),
    Reference(usize),
    Digest(Sha256),
    Cache(usize),
}

/// What one unit adds, to be taken back where it is too much.
#[derive(Debug, Default)]
struct Added {
    named: Vec<Sha256>,
    bytes: u64,
}

struct Marker<'a> {
    found: &'a Inventory,
    /// References by what they are about.
    about: BTreeMap<Sha256, Vec<usize>>,
    kept: Kept,
}

/// Finds out what stays.
pub(super) fn mark(found: &Inventory, policy: &Policy<'_>) -> Result<Kept, StoreError> {
    let mut about: BTreeMap<Sha256, Vec<usize>> = BTreeMap::new();
    for (place, reference) in found.references.iter().enumerate() {
        for digest in &reference.of {
            about.entry(*digest).or_default().push(place);
        }
    }
    let mut marker = Marker {
        found,
        about,
        kept: Kept::default(),
    };
    for (place, reference) in found.references.iter().enumerate() {
        if reference.is_root {
            let added = marker.add(Unit::Reference(place))?;
            marker.keep(Unit::Reference(place), &added);
        }
    }
    marker.kept.rooted = marker.kept.bytes;
    for unit in units(found, policy) {
        let added = marker.add(unit)?;
        let bytes = marker.kept.bytes + added.bytes;
        if policy.most.is_some_and(|most| bytes > most) {
            marker.take_back(&added);
            // What was used before it goes, too: what is left is what was used last, without gaps.
            break;
        }
        marker.keep(unit, &added);
    }
    Ok(marker.kept)
}

/// What was used since, what was used last first.
fn units(found: &Inventory, policy: &Policy<'_>) -> Vec<Unit> {
    let recent = |entry: &Entry| (entry.used >= policy.used_since).then_some(entry.used);
    let mut units = Vec::new();
    for (key, entry) in &found.actions {
        units.extend(recent(entry).map(|used| (Reverse(used), Unit::Action(*key))));
    }
    for (place, reference) in found.references.iter().enumerate() {
        // A note about something that is here, such as on its compressed form, keeps nothing by itself.
        let is_here = |digest: &Sha256| {
            found.blobs.contains_key(digest) || found.snapshots.contains_key(digest)
        };
        if !reference.is_memory && !reference.is_hint && !reference.of.iter().any(is_here) {
            let used = recent(&reference.entry);
            units.extend(used.map(|used| (Reverse(used), Unit::Reference(place))));
        }
    }
    for (digest, entry) in &found.blobs {
        units.extend(recent(entry).map(|used| (Reverse(used), Unit::Digest(*digest))));
    }
    for (digest, snapshots) in &found.snapshots {
        let used = snapshots.iter().filter_map(|one| recent(&one.entry)).max();
        units.extend(used.map(|used| (Reverse(used), Unit::Digest(*digest))));
    }
    for (place, entry) in found.caches.iter().enumerate() {
        units.extend(recent(entry).map(|used| (Reverse(used), Unit::Cache(place))));
    }
    units.sort_by_key(|(used, _)| *used);
    units.into_iter().map(|(_, unit)| unit).collect()
}

impl Marker<'_> {
    /// Marks what a unit names and what that names.
    fn add(&mut self, unit: Unit) -> Result<Added, StoreError> {
        let mut added = Added::default();
        let mut todo = Vec::new();
        match unit {
            Unit::Action(key) => {
                let Some(entry) = self.found.actions.get(&key) else {
                    return Ok(added);
                };
                added.bytes += entry.bytes;
                let bytes = io::read(&entry.path)?.unwrap_or_default();
                if let Some((_, value)) = record::decode(&bytes) {
                    todo.extend(Sha256::named_in(&String::from_utf8_lossy(value)));
                }
            }
            Unit::Reference(place) => {
                if let Some(reference) = self.found.references.get(place) {
                    added.bytes += reference.entry.bytes;
                    todo.extend(&reference.names);
                }
            }
            Unit::Digest(digest) => todo.push(digest),
            Unit::Cache(place) => {
                added.bytes += self.found.caches.get(place).map_or(0, |entry| entry.bytes);
            }
        }
        while let Some(digest) = todo.pop() {
            if !self.kept.named.insert(digest) {
                continue;
            }
            added.named.push(digest);
            if let Some(blob) = self.found.blobs.get(&digest) {
                added.bytes += blob.bytes;
                todo.extend(named_by(blob)?);
            }
            if let Some(snapshots) = self.found.snapshots.get(&digest) {
                added.bytes += snapshots.iter().map(|one| one.entry.bytes).sum::<u64>();
            }
            // What is known about it, such as its compressed form.
            for place in self.about.get(&digest).into_iter().flatten() {
                if let Some(reference) = self.found.references.get(*place) {
                    added.bytes += reference.entry.bytes;
                    if !reference.is_hint {
                        todo.extend(&reference.names);
                    }
                }
            }
        }
        Ok(added)
    }

    fn keep(&mut self, unit: Unit, added: &Added) {
        self.kept.bytes += added.bytes;
        match unit {
            Unit::Action(key) => {
                self.kept.actions.insert(key);
            }
            Unit::Reference(place) => {
                self.kept.references.insert(place);
            }
            Unit::Cache(place) => {
                self.kept.caches.insert(place);
            }
            Unit::Digest(_) => {}
        }
    }

    fn take_back(&mut self, added: &Added) {
        for digest in &added.named {
            self.kept.named.remove(digest);
        }
    }
}

/// What a blob names: those that are documents in JSON name configurations and layers.
fn named_by(blob: &Entry) -> Result<Vec<Sha256>, StoreError> {
    // What takes more on the disk is no document; what takes less may be one that is compressed there.
    if blob.bytes > LONGEST_DOCUMENT {
        return Ok(Vec::new());
    }
    let Some(mut file) = io::open(&blob.path)? else {
        return Ok(Vec::new());
    };
    let failed = |source| io::fail("read", &blob.path, source);
    let mut text = vec![0; 1];
    if file.read(&mut text).map_err(failed)? == 0 || text != b"{" {
        return Ok(Vec::new());
    }
    file.take(LONGEST_DOCUMENT)
        .read_to_end(&mut text)
        .map_err(failed)?;
    Ok(Sha256::named_in(&String::from_utf8_lossy(&text)).collect())
}
