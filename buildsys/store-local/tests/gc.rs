//! What a collection keeps, and what goes.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tbuild_digest::{ActionKey, BlobDigest, DiffId, Sha256};
use tbuild_store::Store as _;
use tbuild_store_local::{Collected, LocalStore, Part, Policy, Stage};

const DAY: Duration = Duration::from_hours(24);

fn fresh() -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn policy() -> Policy<'static> {
    Policy {
        used_since: SystemTime::now() - 7 * DAY,
        most: None,
        roots: &["deployed"],
        memories: &["last"],
        hints: &["base"],
        caches: &["tools"],
    }
}

fn collect(store: &LocalStore, policy: &Policy<'_>) -> Collected {
    let told = &mut |stage| stage != Stage::Waiting;
    let would = store.collect(policy, true, told).unwrap().unwrap();
    let did = store.collect(policy, false, told).unwrap().unwrap();
    assert_eq!(would, did, "what is said beforehand is what is done");
    let again = store.collect(policy, false, told).unwrap().unwrap();
    assert_eq!(again.bytes(), 0, "once is enough: {again:?}");
    did
}

/// Everything in the store was written, and used last, so many days ago; layers unpacked are as old as they are, which
/// nobody can set.
fn age(store: &LocalStore, days: u32) {
    fn all(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                all(&path, found);
            }
            found.push(path);
        }
    }
    let mut found = Vec::new();
    for part in ["actions", "blobs", "refs", "scratch"] {
        all(&store.path().join(part), &mut found);
    }
    for path in found {
        set_age(&path, days);
    }
}

fn set_age(path: &Path, days: u32) {
    let file = File::open(path).unwrap();
    file.set_modified(SystemTime::now() - days * DAY).unwrap();
}

fn layer(store: &LocalStore, content: &str) -> DiffId {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    tar.append_data(&mut header, "f", content.as_bytes())
        .unwrap();
    let digest = store.put_blob(&tar.into_inner().unwrap()).unwrap();
    DiffId(digest.0)
}

fn action(store: &LocalStore, name: &str, result: &str) -> ActionKey {
    let key = ActionKey::of(name.as_bytes());
    store.put_action(&key, result.as_bytes()).unwrap();
    key
}

fn is_there(store: &LocalStore, digest: Sha256) -> bool {
    store.blob_size(&BlobDigest(digest)).unwrap().is_some()
}

#[test]
fn what_was_used_lately_stays_with_all_that_it_names() {
    let (_folder, store) = fresh();
    let below = layer(&store, "below");
    let config = format!("{{\"diff_ids\":[\"sha256:{}\"]}}", below.hex());
    let config = store.put_blob(config.as_bytes()).unwrap();
    let gzip = store.put_blob(b"compressed").unwrap();
    let about = format!("gzip/9 {}", below.hex());
    store
        .set_reference("gzip-layer", &about, Some(gzip.hex().as_bytes()))
        .unwrap();
    let used = action(&store, "used", &format!("[\"{config}\"]"));
    let lost = layer(&store, "lost");
    let unused = action(&store, "unused", &format!("[\"{}\"]", lost.hex()));
    store
        .set_reference("gzip-layer", &format!("gzip/9 {}", lost.hex()), Some(b"-"))
        .unwrap();
    store
        .set_reference("last", "step", Some(unused.hex().as_bytes()))
        .unwrap();
    let broken = store.put_blob(b"not what it was").unwrap();
    store.quarantine(&broken).unwrap();
    age(&store, 30);
    assert!(store.action(&used).unwrap().is_some(), "that is a use");

    let gone = collect(&store, &policy());
    assert_eq!(
        (gone.actions.count, gone.references.count, gone.blobs.count),
        (1, 1, 1)
    );
    assert!(gone.blobs.bytes > 0);
    assert_eq!(gone.quarantine.count, 1);
    assert!(is_there(&store, below.0) && is_there(&store, config.0) && is_there(&store, gzip.0));
    assert!(!is_there(&store, lost.0));
    assert!(store.action(&unused).unwrap().is_none());
    assert!(store.action(&used).unwrap().is_some());
    assert!(store.reference("gzip-layer", &about).unwrap().is_some());
    let last = store.reference("last", "step").unwrap();
    assert_eq!(last.unwrap(), unused.hex().as_bytes());
}

#[test]
fn what_is_deployed_stays_however_old() {
    let (_folder, store) = fresh();
    let shipped = layer(&store, "shipped");
    let manifest = format!(
        "{{\"layers\":[{{\"digest\":\"sha256:{}\"}}]}}",
        shipped.hex()
    );
    let manifest = store.put_blob(manifest.as_bytes()).unwrap();
    let rendered = format!("image: localhost:5000/web@{manifest}");
    store
        .set_reference("deployed", "site", Some(rendered.as_bytes()))
        .unwrap();
    store
        .set_reference("manifests", &format!("web@{manifest}"), Some(b"{}"))
        .unwrap();
    store
        .set_reference(
            "manifests",
            &format!("web@{}", BlobDigest::of(b"x")),
            Some(b"{}"),
        )
        .unwrap();
    age(&store, 3000);
    let gone = collect(&store, &policy());
    assert_eq!((gone.references.count, gone.blobs.count), (1, 0));
    assert!(is_there(&store, shipped.0));
    assert_eq!(
        store.references("manifests").unwrap(),
        [format!("web@{manifest}")]
    );
    // No bound is so tight that it would go.
    let most = Policy {
        most: Some(1),
        ..policy()
    };
    let gone = collect(&store, &most);
    assert_eq!(gone.blobs, Part::default());
    assert!(gone.rooted.unwrap() > 1);
}

#[test]
fn where_there_is_a_bound_what_was_used_last_stays() {
    let (_folder, store) = fresh();
    let size = 40_000;
    let mut keys = Vec::new();
    for number in 0..6 {
        let content = number.to_string().repeat(size);
        let layer = layer(&store, &content);
        keys.push((action(&store, &content, &layer.hex()), layer));
    }
    age(&store, 1);
    for (place, days) in [(0, 2), (1, 4), (2, 3), (3, 5), (4, 6), (5, 5)] {
        for path in ["actions", "blobs/sha256"] {
            let (key, layer) = keys[place];
            let path = store.path().join(path);
            let path = if path.ends_with("actions") {
                path.join(&key.hex()[..2]).join(key.hex())
            } else {
                path.join(layer.hex())
            };
            set_age(&path, days);
        }
    }
    let most = Policy {
        most: Some(3 * size as u64 + 30_000),
        ..policy()
    };
    let gone = collect(&store, &most);
    let kept: Vec<usize> = (0..6)
        .filter(|place| store.action(&keys[*place].0).unwrap().is_some())
        .collect();
    assert_eq!(kept, [0, 1, 2]);
    assert_eq!((gone.actions.count, gone.blobs.count), (3, 3));
    assert!(store.du().unwrap().blobs <= most.most.unwrap());
}

#[test]
fn a_hint_keeps_nothing() {
    let (_folder, store) = fresh();
    let layers: Vec<DiffId> = ["a", "b", "c"].map(|one| layer(&store, one)).into();
    for pair in layers.windows(2) {
        store
            .set_reference("base", &pair[1].hex(), Some(pair[0].hex().as_bytes()))
            .unwrap();
    }
    action(
        &store,
        "used",
        &format!("[\"{}\",\"{}\"]", layers[1].hex(), layers[2].hex()),
    );
    let blob = |layer: &DiffId| store.path().join("blobs/sha256").join(layer.hex());
    for layer in &layers {
        set_age(&blob(layer), 30);
    }
    let gone = collect(&store, &policy());
    assert_eq!((gone.references.count, gone.blobs.count), (1, 1));
    assert_eq!(store.references("base").unwrap(), [layers[2].hex()]);
}

#[test]
fn layers_unpacked_go_with_their_layers() {
    let (_folder, store) = fresh();
    let mut kept = Vec::new();
    for content in ["kept", "dropped"] {
        let layer = layer(&store, content);
        store.ensure_snapshot(&layer).unwrap();
        kept.push(layer);
    }
    store
        .set_reference("deployed", "site", Some(kept[0].hex().as_bytes()))
        .unwrap();
    // Nothing is recent where recent is tomorrow.
    let none = Policy {
        used_since: SystemTime::now() + DAY,
        ..policy()
    };
    let gone = collect(&store, &none);
    assert_eq!((gone.snapshots.count, gone.blobs.count), (1, 1));
    assert!(gone.snapshots.bytes > 0);
    assert!(store.snapshot(&kept[0]).unwrap().is_some());
    assert!(store.snapshot(&kept[1]).unwrap().is_none());
}

#[test]
fn caches_go_by_their_own_time_and_others_are_left_alone() {
    let (_folder, store) = fresh();
    let tools = store.scratch("tools").unwrap();
    let own = store.scratch("authority").unwrap();
    for name in ["old", "new", "locked"] {
        fs::create_dir(tools.join(name)).unwrap();
        fs::write(tools.join(name).join("lock"), "").unwrap();
    }
    fs::write(own.join("key.pem"), "secret").unwrap();
    fs::write(tools.join("file"), "a program").unwrap();
    age(&store, 30);
    set_age(&tools.join("new/lock"), 1);
    let gone = collect(&store, &policy());
    assert_eq!(gone.caches.count, 3);
    assert!(tools.join("new").exists() && !tools.join("old").exists());
    assert!(own.join("key.pem").exists());
}

#[test]
fn whoever_uses_the_store_is_waited_for() {
    let (_folder, store) = fresh();
    let (one, other) = (store.hold().unwrap(), store.hold().unwrap());
    let mut asked = 0;
    let given_up = store.collect(&policy(), false, &mut |stage| {
        assert_eq!(stage, Stage::Waiting);
        asked += 1;
        asked < 3
    });
    assert_eq!((given_up.unwrap(), asked), (None, 3));
    drop(one);
    let mut other = Some(other);
    let done = store.collect(&policy(), false, &mut |_| other.take().is_some());
    assert!(done.unwrap().is_some());
    drop(store.hold().unwrap());
}
