//! Indexes of packages, cut down to what a step took of them.
//!
//! A step that leaves the package lists in its layer is left alone: later steps take from them what this one did not.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use percent_encoding::percent_decode_str;
use tbuild_fetch::decompress;
use tbuild_netlock::{Entry, Request};
use tbuild_realise::OpError;
use tbuild_reduce::apt::{self, Listed};
use tbuild_reduce::openpgp::Key;
use tbuild_reduce::pypi;
use tbuild_store::Store as _;

use crate::World;

/// Where apt keeps its lists.
const LISTS: &str = "var/lib/apt/lists";

const RELEASE: &str = "InRelease";

/// An index that a step read: what it asked for, and what the release calls that.
struct Index<'a> {
    entry: &'a Entry,
    listed: Listed,
}

/// Indexes by their paths below a release's folder.
type Contents = Vec<(String, Vec<u8>)>;

/// What a step asked for, with package indexes cut down to what it took of them; none where there is nothing to cut, or
/// where later steps may take more. `upper` has what the step wrote.
pub(crate) fn reduced(
    world: &World,
    entries: &[Entry],
    upper: &Path,
) -> Result<Option<Vec<Entry>>, OpError> {
    let mut left: Vec<Entry> = entries.to_vec();
    if !keeps_lists(upper) {
        archives(world, entries, &mut left)?;
    }
    pages(world, &mut left)?;
    Ok(left.iter().any(|entry| entry.reduced).then_some(left))
}

/// Cuts apt's indexes.
fn archives(world: &World, entries: &[Entry], left: &mut Vec<Entry>) -> Result<(), OpError> {
    let ends = format!("/{RELEASE}");
    let releases: Vec<&Entry> = entries
        .iter()
        .filter(|entry| entry.status == 200 && entry.request.path.ends_with(&ends))
        .collect();
    if releases.is_empty() {
        return Ok(());
    }
    let key = Key::well_known().map_err(|error| OpError::failed_text(error.to_string()))?;
    for release in releases {
        let Some(text) = read(world, release)?.and_then(|bytes| apt::signed_text(&bytes)) else {
            continue;
        };
        let folder = release.request.path.trim_end_matches(RELEASE);
        let indexes = indexes(&text, folder, release, entries);
        let Some(contents) = contents(world, folder, release, &indexes, entries)? else {
            continue;
        };
        let signed = key.clear_sign(&apt::release(&text, &contents));
        let is_cut = |entry: &Entry| {
            let is = |other: &Entry| other.request == entry.request;
            is(release) || indexes.iter().any(|index| is(index.entry))
        };
        left.retain(|entry| !is_cut(entry));
        left.push(made(world, release, RELEASE, signed.as_bytes())?);
        for (path, content) in &contents {
            left.push(made(world, release, path, content)?);
        }
    }
    Ok(())
}

/// The files of Python's package index that were taken.
fn taken(entries: &[Entry]) -> BTreeSet<String> {
    let names = entries.iter().filter_map(|entry| {
        let path = entry.request.path.split('?').next()?;
        let name = percent_decode_str(path.rsplit('/').next()?).decode_utf8_lossy();
        let name = name.strip_suffix(".metadata").unwrap_or(&name);
        Some(name.to_owned())
    });
    names.collect()
}

/// A page of Python's package index, cut down to what was taken; none if it is no such page.
pub(super) fn page(bytes: &[u8], entries: &[Entry]) -> Option<Vec<u8>> {
    unpacked(bytes).and_then(|page| pypi::page(&page, &taken(entries)))
}

/// Cuts pages of Python's package index.
fn pages(world: &World, left: &mut [Entry]) -> Result<(), OpError> {
    let taken = taken(left);
    for entry in left.iter_mut().filter(|entry| entry.status == 200) {
        let is_page = entry.request.origin == "pypi" && entry.request.path.ends_with('/');
        if !is_page {
            continue;
        }
        let Some(bytes) = read(world, entry)? else {
            continue;
        };
        let page = unpacked(&bytes).and_then(|page| pypi::page(&page, &taken));
        let Some(page) = page else { continue };
        entry.sha256 = world.store.put_blob(&page)?;
        entry.size = page.len() as u64;
        entry.reduced = true;
        // It is not compressed, and good for whoever asks.
        entry.asked.retain(|name, _| name != "accept-encoding");
        entry.headers.retain(|name, _| name == "content-type");
    }
    Ok(())
}

/// The bytes without their compression; none if they are not by its rules.
fn unpacked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let done = decompress(bytes).and_then(|mut reader| reader.read_to_end(&mut content));
    done.ok().map(|_| content)
}

/// Whether apt's lists stay behind in what a step wrote.
fn keeps_lists(upper: &Path) -> bool {
    let Ok(found) = std::fs::read_dir(upper.join(LISTS)) else {
        return false;
    };
    found
        .flatten()
        .any(|file| file.file_name().to_string_lossy().ends_with("Release"))
}

fn read(world: &World, entry: &Entry) -> Result<Option<Vec<u8>>, OpError> {
    Ok(world.store.read_blob(&entry.sha256)?)
}

/// The indexes below a release that were read, by their own paths or by their digests.
fn indexes<'a>(text: &str, folder: &str, release: &Entry, entries: &'a [Entry]) -> Vec<Index<'a>> {
    let listed = apt::listed(text);
    let below = entries.iter().filter_map(|entry| {
        let is_of = entry.request.origin == release.request.origin && entry.status == 200;
        let path = entry.request.path.strip_prefix(folder)?;
        (is_of && path != RELEASE).then_some((entry, path))
    });
    below
        .filter_map(|(entry, path)| {
            let listed = match path.split_once("by-hash/SHA256/") {
                Some((at, sha256)) => listed.iter().find(|one| {
                    let name = one.path.strip_prefix(at);
                    one.sha256 == sha256 && name.is_some_and(|name| !name.contains('/'))
                }),
                None => listed.iter().find(|one| one.path == path),
            };
            let listed = listed?.clone();
            Some(Index { entry, listed })
        })
        .collect()
}

/// What is left of indexes, by their paths without compression; none where one cannot be read.
fn contents(
    world: &World,
    folder: &str,
    release: &Entry,
    indexes: &[Index],
    entries: &[Entry],
) -> Result<Option<Contents>, OpError> {
    let (root, _) = folder.split_once("dists/").unwrap_or_default();
    let taken: BTreeSet<String> = entries
        .iter()
        .filter(|entry| entry.request.origin == release.request.origin)
        .filter_map(|entry| entry.request.path.strip_prefix(root))
        // apt writes `+` as `%2b`.
        .map(|path| percent_decode_str(path).decode_utf8_lossy().into_owned())
        .collect();
    let mut whole = BTreeMap::new();
    for Index { entry, listed } in indexes {
        let Some(bytes) = read(world, entry)? else {
            return Ok(None);
        };
        let Some(content) = unpacked(&bytes) else {
            return Ok(None);
        };
        let path = [".xz", ".gz"]
            .iter()
            .find_map(|end| listed.path.strip_suffix(end))
            .unwrap_or(&listed.path);
        whole.insert(path.to_owned(), content);
    }
    let mut names = BTreeSet::new();
    let is_packages = |path: &str| path.ends_with("/Packages");
    for (path, content) in whole.iter_mut().filter(|(path, _)| is_packages(path)) {
        let (left, found) = apt::packages(content, &taken);
        tracing::debug!(
            path,
            before = content.len(),
            after = left.len(),
            "an index is cut down"
        );
        *content = left;
        names.extend(found);
    }
    for (path, content) in &mut whole {
        if path.contains("/i18n/Translation-") {
            *content = apt::of_packages(content, &names);
        }
    }
    Ok(Some(whole.into_iter().collect()))
}

/// An answer that was made of what an origin has in the folder of `release`.
fn made(world: &World, release: &Entry, path: &str, content: &[u8]) -> Result<Entry, OpError> {
    let folder = release.request.path.trim_end_matches(RELEASE);
    Ok(Entry {
        request: Request {
            path: format!("{folder}{path}"),
            ..release.request.clone()
        },
        asked: BTreeMap::new(),
        status: release.status,
        headers: BTreeMap::new(),
        sha256: world.store.put_blob(content)?,
        size: content.len() as u64,
        reduced: true,
    })
}
