//! Removing the rest.

use std::path::PathBuf;

use tbuild_store::StoreError;

use super::inventory::{Entry, Inventory, Sizes};
use super::mark::{Kept, mark};
use super::usage::folder_size;
use super::{Collected, Part, Policy, Stage};
use crate::{LocalStore, io, remove_tree};

/// What goes, in the order in which it does: a result is gone before what it names.
#[derive(Debug, Default)]
struct Doomed<'a> {
    actions: Vec<&'a Entry>,
    references: Vec<&'a Entry>,
    snapshots: Vec<&'a Entry>,
    blobs: Vec<&'a Entry>,
    caches: Vec<&'a Entry>,
}

fn doomed<'a>(found: &'a Inventory, kept: &Kept) -> Doomed<'a> {
    let mut doomed = Doomed::default();
    let unkept = |(key, entry)| (!kept.actions.contains(key)).then_some(entry);
    doomed.actions = found.actions.iter().filter_map(unkept).collect();
    for (place, reference) in found.references.iter().enumerate() {
        if !kept.keeps(place, reference) {
            doomed.references.push(&reference.entry);
        }
    }
    for (layer, snapshots) in &found.snapshots {
        for one in snapshots {
            let over = one.over.is_none_or(|over| kept.named.contains(&over));
            if !kept.named.contains(layer) || !over {
                doomed.snapshots.push(&one.entry);
            }
        }
    }
    let unkept = |(digest, entry)| (!kept.named.contains(digest)).then_some(entry);
    doomed.blobs = found.blobs.iter().filter_map(unkept).collect();
    let caches = found.caches.iter().enumerate();
    doomed.caches = caches
        .filter_map(|(place, entry)| (!kept.caches.contains(&place)).then_some(entry))
        .collect();
    doomed
}

impl LocalStore {
    /// Removes what a policy does not keep. Waits until no process [holds](LocalStore::hold) the store. `told` hears how
    /// far it is, and says whether to go on waiting: none comes back if it is not. With `dry_run`, nothing goes, and what
    /// would is measured.
    ///
    /// Others wait while it finds out what goes; that it is removed, they do not notice. Stopped at any instant, it
    /// leaves a store that is right: results go before what they name.
    pub fn collect(
        &self,
        policy: &Policy<'_>,
        dry_run: bool,
        told: &mut dyn FnMut(Stage) -> bool,
    ) -> Result<Option<Collected>, StoreError> {
        self.recover_once()?;
        let sizes = if policy.most.is_some() {
            self.folder_sizes(policy)?
        } else {
            Sizes::new()
        };
        let Some(alone) = self.alone(told)? else {
            return Ok(None);
        };
        let found = self.inventory(policy, &sizes)?;
        let kept = mark(&found, policy)?;
        let doomed = doomed(&found, &kept);
        let mut collected = Collected {
            rooted: policy.most.map(|_| kept.rooted),
            ..Collected::default()
        };
        if dry_run {
            let folders = |part: &mut Part, entries: &[&Entry]| -> Result<(), StoreError> {
                for entry in entries {
                    part.add(folder_size(&entry.path)?);
                }
                Ok(())
            };
            count(&mut collected.actions, &doomed.actions);
            count(&mut collected.references, &doomed.references);
            count(&mut collected.blobs, &doomed.blobs);
            drop(alone);
            folders(&mut collected.snapshots, &doomed.snapshots)?;
            folders(&mut collected.caches, &doomed.caches)?;
            for path in &self.quarantined()? {
                collected.quarantine.add(folder_size(path)?);
            }
            return Ok(Some(collected));
        }
        remove(&mut collected.actions, &doomed.actions)?;
        remove(&mut collected.references, &doomed.references)?;
        let snapshots = self.set_aside(&doomed.snapshots)?;
        remove(&mut collected.blobs, &doomed.blobs)?;
        let caches = self.set_aside(&doomed.caches)?;
        drop(alone);
        for path in &self.quarantined()? {
            collected.quarantine.add(folder_size(path)?);
            io::remove_file(path)?;
        }
        let all = snapshots.len() + caches.len();
        let mut done = 0;
        for (part, paths) in [
            (&mut collected.snapshots, snapshots),
            (&mut collected.caches, caches),
        ] {
            for path in paths {
                told(Stage::Removing(done, all));
                part.add(folder_size(&path)?);
                remove_tree(&path)?;
                done += 1;
            }
        }
        Ok(Some(collected))
    }

    fn quarantined(&self) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.layout().path("quarantine");
        let names = io::names(&folder)?;
        Ok(names.iter().map(|name| folder.join(name)).collect())
    }

    /// Moves folders out of sight, where they go with this process if nobody removes them before.
    fn set_aside(&self, entries: &[&Entry]) -> Result<Vec<PathBuf>, StoreError> {
        let mut aside = Vec::new();
        for entry in entries {
            let snapshots = self.layout().snapshots().parent();
            let to = if entry.path.parent().and_then(|folder| folder.parent()) == snapshots {
                self.session()?.fresh_stage("doomed")
            } else {
                self.session()?.fresh("doomed")
            };
            io::rename(&entry.path, &to)?;
            aside.push(to);
        }
        Ok(aside)
    }
}

fn count(part: &mut Part, entries: &[&Entry]) {
    for entry in entries {
        part.add(entry.bytes);
    }
}

fn remove(part: &mut Part, entries: &[&Entry]) -> Result<(), StoreError> {
    for entry in entries {
        if io::remove_file(&entry.path)? {
            part.add(entry.bytes);
        }
    }
    Ok(())
}
