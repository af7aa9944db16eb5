//! What of a network's lock is old, or runs out.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tbuild_digest::BlobDigest;
use tbuild_lock::{Day, NetworkLock, RequestLock};
use tbuild_netlock::{Entry, Found, How, Places, Upstream, UpstreamError};
use tbuild_realise::OpError;
use tbuild_reduce::apt;

use super::{AT_ONCE, Ahead, Drift, Looked, Wrong, of_network, unreachable};
use crate::World;
use crate::network::{pack, reduce};

/// Releases of apt's archives, signed within or beside.
const RELEASES: [&str; 2] = ["/InRelease", "/Release"];

/// No index that is cut down here is larger.
const MOST: u64 = 64 << 20;

fn is_release(request: &RequestLock) -> bool {
    request.status == 200 && RELEASES.iter().any(|end| request.path.ends_with(end))
}

/// A field of a release.
fn field(document: &[u8], name: &str) -> Option<String> {
    let text = apt::signed_text(document);
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(document).into_owned());
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}

/// Releases that apt is shown as they were signed, and refuses soon: those that were cut down do not run out.
pub(super) fn expiring(
    world: &World,
    lock: &NetworkLock,
    ahead: Ahead,
) -> Result<Vec<Drift>, OpError> {
    let of_apt = |request: &&RequestLock| is_release(request) && !request.reduced;
    let releases: Vec<&RequestLock> = lock.requests.iter().filter(of_apt).collect();
    let bodies = pack::bodies(world, &lock.node, releases.iter().map(|one| one.sha256))?;
    let mut found = Vec::new();
    for request in releases {
        let until = bodies
            .get(&request.sha256)
            .and_then(|body| field(body, "Valid-Until"));
        let Some(until) = until.and_then(|date| tbuild_fetch::unix_seconds(&date)) else {
            continue;
        };
        let until = Day::of_unix(until);
        if until.days_since(ahead.today) < ahead.days || until <= ahead.today {
            found.push(of_network(
                world,
                &lock.node,
                request,
                Wrong::Expires(until),
            )?);
        }
    }
    Ok(found)
}

/// Steps that were recorded too long ago, each with an answer that is another by now: what is asked again and answered
/// as it was is not old.
pub(super) async fn old(
    world: &World,
    lock: &NetworkLock,
    ahead: Ahead,
    way: (&Upstream, &Places),
    looked: &mut Looked,
) -> Result<Vec<Drift>, OpError> {
    let mut found = Vec::new();
    for step in &lock.steps {
        let requests = lock.of_step(&step.id).unwrap_or_default();
        let may_change: Vec<&RequestLock> = requests
            .iter()
            .copied()
            .filter(|request| !request.is_lasting() && is_telling(request))
            .collect();
        let Some(day) = step.when else {
            if !may_change.is_empty() {
                looked.undated.insert(lock.node.clone());
            }
            continue;
        };
        if ahead.today.days_since(day) <= ahead.days {
            continue;
        }
        let reduced = may_change.iter().filter(|request| request.reduced);
        let kept = pack::bodies(world, &lock.node, reduced.map(|request| request.sha256))?;
        let entries: Vec<Entry> = requests.iter().copied().map(Entry::from).collect();
        let changed = stream::iter(may_change)
            .map(async |request| {
                let is_same = is_as_it_was(way, request, &entries, &kept).await?;
                Ok::<_, UpstreamError>((!is_same).then_some(request))
            })
            .buffered(AT_ONCE)
            .try_filter_map(async |changed| Ok(changed));
        let mut changed = std::pin::pin!(changed);
        // One is enough.
        if let Some(request) = changed
            .try_next()
            .await
            .map_err(|error| unreachable(&error))?
        {
            let drift = of_network(world, &lock.node, request, Wrong::Old(day))?;
            found.push(Drift {
                steps: vec![step.id.clone()],
                ..drift
            });
        }
    }
    Ok(found)
}

/// Whether an answer can be compared with today's: what was cut down below a release goes by the release.
fn is_telling(request: &RequestLock) -> bool {
    !request.reduced || is_release(request) || request.origin == "pypi"
}

async fn is_as_it_was(
    (upstream, places): (&Upstream, &Places),
    request: &RequestLock,
    entries: &[Entry],
    kept: &BTreeMap<BlobDigest, Vec<u8>>,
) -> Result<bool, UpstreamError> {
    let entry = Entry::from(request);
    if !request.reduced {
        let found = upstream.look(places, &entry, How::Bytes).await?;
        // What cannot be asked again is not known to have changed.
        return Ok(!matches!(found, Found::Changed | Found::Gone));
    }
    let Some(today) = upstream.today(places, &entry, MOST).await? else {
        return Ok(false);
    };
    let Some(before) = kept.get(&request.sha256) else {
        return Ok(false);
    };
    Ok(if is_release(request) {
        field(&today, "Date") == field(before, "Date")
    } else {
        reduce::page(&today, entries).as_ref() == Some(before)
    })
}
