//! Package files of locked bases: whether their archives have them still.

use std::path::{Path, PathBuf};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tbuild_digest::BlobDigest;
use tbuild_lock::{BaseLock, Day, Kind};
use tbuild_netlock::{Entry, Found, Guard, How, Limits, Places, Request, Upstream};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use super::{AT_ONCE, Ahead, Drift, Looked, Wrong, files, unreachable};
use crate::World;
use crate::network::places;

/// The lock of a base made from packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseFile {
    /// Its file.
    pub path: PathBuf,
    /// What it says.
    pub lock: BaseLock,
}

impl BaseFile {
    /// Reads it.
    pub fn read(path: &Path) -> Result<Self, OpError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| OpError::usage(format!("cannot read {}: {error}", path.display())))?;
        let lock =
            BaseLock::parse(&path.display().to_string(), &text).map_err(|error| OpError::Lock {
                message: error.to_string(),
                hints: Vec::new(),
            })?;
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// What it is called: its file's name without what all have at the end.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }

    /// When it was locked, or if nobody knows, when the last of its releases was made.
    fn day(&self) -> Option<Day> {
        let made = self.lock.releases.iter();
        let made = made.filter_map(|release| tbuild_fetch::unix_seconds(&release.date));
        self.lock.when.or_else(|| made.max().map(Day::of_unix))
    }
}

/// The locks of bases made from packages that a project has.
pub fn base_files(world: &World) -> Result<Vec<BaseFile>, OpError> {
    let files = files(world, Kind::Base);
    files.iter().map(|path| BaseFile::read(path)).collect()
}

/// A file of an archive as if a step had asked for it.
fn entry(origin: &str, path: &str, sha256: BlobDigest, size: u64) -> Entry {
    Entry {
        request: Request {
            origin: origin.to_owned(),
            path: path.to_owned(),
            method: "GET".to_owned(),
            body: None,
        },
        asked: std::collections::BTreeMap::new(),
        status: 200,
        headers: std::collections::BTreeMap::new(),
        sha256,
        size,
        reduced: false,
    }
}

/// The way to archives: bases may come from this very machine, as whoever set it up wants it.
fn upstream(world: &World) -> Result<Upstream, OpError> {
    let origins = &world.machine.origins;
    let urls = origins.names().filter_map(|name| origins.urls(name).ok());
    let hosts = urls.flatten().filter_map(|url| {
        let (_, rest) = url.split_once("://")?;
        let place = rest.split('/').next()?;
        // An address of IPv6 is no name to resolve.
        let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
        Some(host.to_owned())
    });
    let guard = Guard::except(world.machine.http.proxies.hosts().chain(hosts));
    let client = tbuild_fetch::relay(&world.machine.http, guard)
        .map_err(|error| OpError::unreachable(&error))?;
    let limits = Limits {
        local: true,
        ..Limits::default()
    };
    Ok(Upstream::new(client, limits, !world.offline))
}

impl Looked {
    /// Looks at bases made from packages likewise: at all of their package files, and if one looks ahead, whether the
    /// releases of old ones are others by now.
    pub async fn bases(
        &mut self,
        world: &World,
        bases: &[BaseFile],
        ahead: Option<Ahead>,
    ) -> Result<(), OpError> {
        let (upstream, places) = (upstream(world)?, places(world));
        for base in bases {
            let packages = &base.lock.packages;
            let found: Vec<Found> = stream::iter(packages)
                .map(async |package| {
                    let path = package.path.as_str();
                    let entry = entry(&package.origin, path, package.sha256, package.size);
                    upstream.look(&places, &entry, How::Size).await
                })
                .buffered(AT_ONCE)
                .try_collect()
                .await
                .map_err(|error| unreachable(&error))?;
            for (package, found) in packages.iter().zip(found) {
                let wrong = match found {
                    Found::There => continue,
                    Found::Unknown => {
                        self.unknown(&package.origin);
                        continue;
                    }
                    Found::Elsewhere if ahead.is_none() => continue,
                    Found::Elsewhere => Wrong::Second,
                    // A file of a version is never another one.
                    Found::Changed | Found::Gone => Wrong::Gone,
                };
                self.drift.push(Drift {
                    kind: Kind::Base,
                    lock: base.name(),
                    request: format!("{}/{}", package.origin, package.path),
                    steps: Vec::new(),
                    is_stored: world.store.blob_size(&package.sha256)?.is_some(),
                    wrong,
                });
            }
            if let Some(ahead) = ahead {
                self.drift
                    .extend(old(base, ahead, &upstream, &places).await?);
            }
        }
        Ok(())
    }
}

/// A base that was locked too long ago, and one of whose releases is another by now.
async fn old(
    base: &BaseFile,
    ahead: Ahead,
    upstream: &Upstream,
    places: &Places,
) -> Result<Option<Drift>, OpError> {
    /// No InRelease file is larger.
    const MOST: u64 = 16 << 20;
    let Some(day) = base.day() else {
        return Ok(None);
    };
    if ahead.today.days_since(day) <= ahead.days {
        return Ok(None);
    }
    for release in &base.lock.releases {
        let asked = entry(&release.origin, release.path.as_str(), release.sha256, 0);
        let today = upstream.today(places, &asked, MOST);
        let today = today.await.map_err(|error| unreachable(&error))?;
        let is_same = today.is_some_and(|bytes| BlobDigest::of(&bytes) == release.sha256);
        if !is_same {
            return Ok(Some(Drift {
                kind: Kind::Base,
                lock: base.name(),
                request: format!("{}/{}", release.origin, release.path),
                steps: Vec::new(),
                is_stored: false,
                wrong: Wrong::Old(day),
            }));
        }
    }
    Ok(None)
}
