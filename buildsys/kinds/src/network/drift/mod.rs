//! What of locks cannot be had as it was any more, or soon cannot.

mod age;
mod base;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tbuild_lock::{Day, Kind, RequestLock};
use tbuild_netlock::{Entry, Found, How, Places, Upstream, UpstreamError};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use super::{StepsLock, lockfile, pack, places, upstream};
use crate::World;

pub use self::base::{BaseFile, base_files};

/// How many origins are asked at a time.
const AT_ONCE: usize = 16;

/// What is wrong with something locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Nobody has its bytes.
    Gone,
    /// Its origin has another answer by now, and the lock does not keep the one that is locked.
    Changed,
    /// It is a file that its origin has no more, and a second one has.
    Second,
    /// It may change any day, and the lock does not keep it.
    Unkept,
    /// It is of this day, and answered otherwise by now.
    Old(Day),
    /// It is a signed release that programs refuse from this day on.
    Expires(Day),
}

impl Wrong {
    /// Whether what is locked cannot be had as it was.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Gone | Self::Changed)
    }

    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Second => "second",
            Self::Unkept => "unkept",
            Self::Old(_) => "old",
            Self::Expires(_) => "expires",
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("no origin has it"),
            Self::Changed => f.write_str("its origin has another by now"),
            Self::Second => f.write_str("only a second origin has it"),
            Self::Unkept => {
                f.write_str("its origin may change it, and it is not kept with the lock")
            }
            Self::Old(day) => write!(f, "locked on {day}, and its origin has another by now"),
            Self::Expires(day) => write!(f, "programs refuse it from {day} on"),
        }
    }
}

/// Something locked that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What is locked.
    pub kind: Kind,
    /// The name of its lock.
    pub lock: String,
    /// What was asked for: origin and path.
    pub request: String,
    /// The ids of the steps that asked; none for a base.
    pub steps: Vec<String>,
    /// Whether this store has it still.
    pub is_stored: bool,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What was found out of locks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// What is not as it should be.
    pub drift: Vec<Drift>,
    /// How many files of which origins were not looked for: nothing on this machine says who serves these.
    pub unknown: BTreeMap<String, usize>,
    /// Locks with steps whose day nobody knows.
    pub undated: BTreeSet<String>,
}

impl Looked {
    fn unknown(&mut self, origin: &str) {
        *self.unknown.entry(origin.to_owned()).or_default() += 1;
    }
}

/// How far ahead one looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// How many days what is locked may be old; releases that run out within so many count, too.
    pub days: u64,
    /// Today.
    pub today: Day,
}

impl Ahead {
    /// So many days from today.
    pub fn days(days: u64) -> Self {
        Self {
            days,
            today: crate::world::today(),
        }
    }
}

fn unreachable(error: &UpstreamError) -> OpError {
    OpError::unreachable(error)
}

/// Looks at the networks that are locked, and at what is wrong with them: what is nowhere to be had as it was, and if
/// one looks ahead, what soon may not be. Asks origins for what they never change by name and size alone; answers that
/// they may change are asked for if they are not kept with the lock, or old.
pub async fn drift(
    world: &World,
    locks: &[StepsLock],
    ahead: Option<Ahead>,
) -> Result<Looked, OpError> {
    let (upstream, places) = (upstream(world)?, places(world));
    let mut looked = Looked::default();
    for of in locks {
        let lock = lockfile::read(world, &of.name)?;
        let kept = pack::digests(world, &of.name)?;
        let asked = lock.requests.iter().filter(|request| request.size > 0);
        let elsewhere = asked.filter(|request| !kept.contains(&request.sha256));
        let found: Vec<(&RequestLock, Found)> = stream::iter(elsewhere)
            .map(|request| look(&upstream, &places, request))
            .buffered(AT_ONCE)
            .try_collect()
            .await
            .map_err(|error| unreachable(&error))?;
        for (request, found) in found {
            let wrong = match found {
                Found::There if request.is_lasting() => None,
                Found::There => ahead.map(|_| Wrong::Unkept),
                Found::Elsewhere => ahead.map(|_| Wrong::Second),
                Found::Changed => Some(Wrong::Changed),
                Found::Unknown if request.is_lasting() => {
                    looked.unknown(&request.origin);
                    None
                }
                // Or it cannot be asked for again.
                Found::Gone | Found::Unknown => Some(Wrong::Gone),
            };
            if let Some(wrong) = wrong {
                looked
                    .drift
                    .push(of_network(world, &of.name, request, wrong)?);
            }
        }
        let now = ahead.unwrap_or(Ahead::days(0));
        looked.drift.extend(age::expiring(world, &lock, now)?);
        if let Some(ahead) = ahead {
            let old = age::old(world, &lock, ahead, (&upstream, &places), &mut looked).await?;
            looked.drift.extend(old);
        }
    }
    Ok(looked)
}

/// What origins have of a request.
async fn look<'a>(
    upstream: &Upstream,
    places: &Places,
    request: &'a RequestLock,
) -> Result<(&'a RequestLock, Found), UpstreamError> {
    if request.reduced {
        // It was made here.
        return Ok((request, Found::Gone));
    }
    let how = if request.is_lasting() {
        How::Size
    } else {
        How::Bytes
    };
    let found = upstream.look(places, &Entry::from(request), how).await?;
    Ok((request, found))
}

/// What is wrong with a request of a lock.
fn of_network(
    world: &World,
    lock: &str,
    request: &RequestLock,
    wrong: Wrong,
) -> Result<Drift, OpError> {
    Ok(Drift {
        kind: Kind::Network,
        lock: lock.to_owned(),
        request: format!("{}/{}", request.origin, request.path),
        steps: request.steps.clone(),
        is_stored: world.store.blob_size(&request.sha256)?.is_some(),
        wrong,
    })
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
    let mut names = BTreeSet::new();
    for path in files(world, Kind::Network) {
        names.extend(lockfile::at(&path)?.map(|lock| lock.node));
    }
    let lock = |name| StepsLock {
        name,
        nodes: Vec::new(),
        ports: Vec::new(),
    };
    Ok(names.into_iter().map(lock).collect())
}

/// The lockfiles of a kind, sorted.
fn files(world: &World, kind: Kind) -> Vec<std::path::PathBuf> {
    let start = format!("{kind}-");
    let found = std::fs::read_dir(world.project.join("lockfiles"));
    let mut files: Vec<_> = found
        .into_iter()
        .flatten()
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().starts_with(&start))
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "lock"))
        .collect();
    files.sort();
    files
}
