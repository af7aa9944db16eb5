//! What is newer than what is locked. Nothing is written into a lock, and no step runs.

mod apt;
mod order;
mod registries;

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use tbuild_config::SourceOrigin;
use tbuild_lock::{NetworkLock, Package, RequestLock, file_name, packages};
use tbuild_realise::OpError;

use self::apt::Archives;
use self::registries::Registries;
use crate::network::lockfile;
use crate::pipeline::Pipeline;
use crate::pipeline_base::Changes;
use crate::{World, filter::Filter};

/// How many registries are asked at a time.
const AT_ONCE: usize = 16;

/// Something locked that there is a newer one of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outdated {
    /// The name of its lockfile, without the end that all have.
    pub lock: String,
    /// Whose it is: `apt`, `pip`, `npm`, `go`, `cargo`, `maven`, `image`, `git`.
    pub manager: &'static str,
    /// Its name.
    pub name: String,
    /// What is locked: versions, a digest, a commit; none where an update brings it in.
    pub locked: Option<String>,
    /// What there is now; none where an update leaves it out.
    pub newest: Option<String>,
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// What there is a newer one of, sorted.
    pub outdated: BTreeSet<Outdated>,
    /// What could not be looked up, and why: a line each.
    pub unknown: BTreeSet<String>,
}

impl Survey {
    fn put(&mut self, lock: &str, package: &Package, newest: String) {
        self.outdated.insert(Outdated {
            lock: lock.to_owned(),
            manager: package.manager,
            name: package.name.clone(),
            locked: Some(package.version.clone()),
            newest: Some(newest),
        });
    }
}

impl Pipeline<'_> {
    /// What of a base is newer by now; `name` as its node has it.
    pub async fn survey_base(&self, name: &str, survey: &mut Survey) -> Result<(), OpError> {
        let mut put = |lock: String, manager, name: &str, (locked, newest)| {
            survey.outdated.insert(Outdated {
                lock,
                manager,
                name: name.to_owned(),
                locked,
                newest,
            });
        };
        match self.outdated_base(name).await? {
            Changes::Packages(Some(changes)) => {
                let lock = self.base_lock(name);
                let lock = lock.file_stem().unwrap_or_default().to_string_lossy();
                for (package, versions) in changes {
                    put(lock.clone().into_owned(), "apt", &package, versions);
                }
            }
            Changes::Image(Some(versions)) => {
                let lock = stem(tbuild_lock::Kind::Image, name);
                put(lock, "image", name, versions);
            }
            Changes::Packages(None) => {
                survey.unknown.insert(format!("base {name} is not locked"));
            }
            Changes::Image(None) => {}
        }
        Ok(())
    }

    /// What a git source names by now, if that is not what is locked; others have no locks.
    pub fn survey_source(&self, name: &str, survey: &mut Survey) -> Result<(), OpError> {
        let source = self.config.sources.get(name);
        let Some(SourceOrigin::Git { url, rev }) = source.map(|source| &source.origin) else {
            return Ok(());
        };
        let checkout = self.checkout(name, (&url.value, &rev.value), Filter::default());
        if let Some((locked, newest)) = tokio::task::block_in_place(|| checkout.outdated())? {
            survey.outdated.insert(Outdated {
                lock: stem(tbuild_lock::Kind::Git, name),
                manager: "git",
                name: format!("{name} {}", rev.value),
                locked: Some(locked),
                newest: Some(newest),
            });
        }
        Ok(())
    }
}

fn stem(kind: tbuild_lock::Kind, name: &str) -> String {
    let file = file_name(kind, name);
    file.trim_end_matches(".lock").to_owned()
}

/// What is newer than the packages that steps of these locks have brought: what their archives and registries offer
/// today, whatever the steps ask for. So a version that a step pins is told, too.
pub async fn survey_networks(
    world: &World,
    locks: &[String],
    survey: &mut Survey,
) -> Result<(), OpError> {
    let mut archives = Archives::new(world)?;
    let registries = Registries::new(world)?;
    for name in locks {
        let lock = lockfile::read(world, name)?;
        let file = stem(tbuild_lock::Kind::Network, name);
        for step in &lock.steps {
            archives.look(&lock, &step.id, &file, survey).await?;
        }
        let newest: Vec<(Package, Result<Option<String>, String>)> =
            stream::iter(of_registries(&lock))
                .map(|(package, request)| registries.newest(package, request))
                .buffered(AT_ONCE)
                .collect()
                .await;
        for (package, newest) in newest {
            match newest {
                Ok(Some(newest)) if order::is_newer(&newest, &package.version) => {
                    survey.put(&file, &package, newest);
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    let of = format!("{} of {}", package.name, package.manager);
                    survey
                        .unknown
                        .insert(format!("{of}: its registry does not say what is newest"));
                }
                Err(why) => {
                    survey.unknown.insert(why);
                }
            }
        }
    }
    Ok(())
}

/// The packages of a lock that are no archive's, of each the newest that is locked, and who brought it.
fn of_registries(lock: &NetworkLock) -> Vec<(Package, RequestLock)> {
    let mut newest: BTreeMap<(&'static str, String), (Package, RequestLock)> = BTreeMap::new();
    for request in &lock.requests {
        for package in packages([request]) {
            let key = (package.manager, package.name.clone());
            let is_older = newest
                .get(&key)
                .is_none_or(|(known, _)| order::is_newer(&package.version, &known.version));
            if package.manager != "apt" && is_older {
                newest.insert(key, (package, request.clone()));
            }
        }
    }
    newest.into_values().collect()
}
