//! The store's contract, and what only a local one can show.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tbuild_digest::{ActionKey, DiffId};
use tbuild_store::{Store as _, StoreError};
use tbuild_store_local::{Durability, LocalStore, remove_tree};

fn fresh() -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn conforms() {
    let (_folder, store) = fresh();
    tbuild_store::conformance::all(&store);
}

#[test]
fn conforms_when_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open_with(folder.path(), Durability::Synced).unwrap();
    tbuild_store::conformance::all(&store);
}

#[test]
fn is_an_oci_image_layout() {
    let (_folder, store) = fresh();
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(store.path().join(name)).unwrap()).unwrap()
    };
    assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
    assert_eq!(json("index.json")["schemaVersion"], 2);
    assert!(
        json("index.json")["manifests"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let digest = store.put_blob(b"x").unwrap();
    let path = store.path().join("blobs/sha256").join(digest.hex());
    assert_eq!(fs::read(&path).unwrap(), b"x");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7222,
        0
    );
    store
        .set_index(br#"{"schemaVersion":2,"manifests":[{}]}"#)
        .unwrap();
    assert_eq!(json("index.json")["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn opening_again_keeps_everything_and_writes_nothing() {
    let (_folder, store) = fresh();
    let digest = store.put_blob(b"kept").unwrap();
    store.set_reference("node", "a", Some(b"1")).unwrap();
    let path = store.path().to_owned();
    drop(store);
    let again = LocalStore::open(&path).unwrap();
    assert_eq!(again.read_blob(&digest).unwrap().unwrap(), b"kept");
    assert_eq!(again.reference("node", "a").unwrap().unwrap(), b"1");
    assert_eq!(count(&path.join("tmp")), 0, "reading starts no session");
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    let error = LocalStore::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Format { .. }), "{error}");
    assert_eq!(count(folder.path()), 1);

    let (_folder, store) = fresh();
    fs::write(store.path().join("version"), "999\n").unwrap();
    let error = LocalStore::open(store.path()).unwrap_err();
    assert!(error.to_string().contains("999"), "{error}");
}

#[test]
fn a_creation_cut_short_is_completed() {
    let (_folder, store) = fresh();
    for name in ["version", "index.json"] {
        fs::remove_file(store.path().join(name)).unwrap();
    }
    fs::remove_dir(store.path().join("locks")).unwrap();
    let again = LocalStore::open(store.path()).unwrap();
    drop(again.lock("x").unwrap());
    assert!(store.path().join("index.json").exists());
}

#[test]
fn a_corrupt_blob_is_quarantined_and_can_be_written_again() {
    let (_folder, store) = fresh();
    let digest = store.put_blob(b"right").unwrap();
    let path = store.path().join("blobs/sha256").join(digest.hex());
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"wrong").unwrap();
    let error = store.read_blob(&digest).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(named) if named == digest));
    assert_eq!(store.read_blob(&digest).unwrap(), None);
    assert_eq!(count(&store.path().join("quarantine")), 1);
    store.put_blob(b"right").unwrap();
    assert_eq!(store.read_blob(&digest).unwrap().unwrap(), b"right");
}

#[test]
fn damaged_records_count_as_absent() {
    let (_folder, store) = fresh();
    let key = ActionKey::of(b"k");
    store.put_action(&key, b"result").unwrap();
    store.set_reference("tag", "x", Some(b"value")).unwrap();
    let action = store
        .path()
        .join("actions")
        .join(&key.hex()[..2])
        .join(key.hex());
    // What a crash of the machine leaves of a file that nobody synced.
    fs::write(&action, b"").unwrap();
    fs::write(store.path().join("refs/tag/x"), [0; 80]).unwrap();
    assert_eq!(store.action(&key).unwrap(), None);
    assert_eq!(store.reference("tag", "x").unwrap(), None);
    store.put_action(&key, b"again").unwrap();
    assert_eq!(store.action(&key).unwrap().unwrap(), b"again");
}

#[test]
fn a_space_is_a_plain_word() {
    let (_folder, store) = fresh();
    for space in ["", "..", "a/b", "A", "a.b"] {
        assert!(
            store.set_reference(space, "x", Some(b"")).is_err(),
            "{space:?}"
        );
    }
}

#[test]
fn what_dead_processes_left_is_swept_and_what_live_ones_hold_is_not() {
    let (_folder, store) = fresh();
    let tmp = store.path().join("tmp");
    let dead = tmp.join("1-00000000000000aa");
    fs::create_dir_all(dead.join("stage0/work/work")).unwrap();
    fs::set_permissions(
        dead.join("stage0/work/work"),
        fs::Permissions::from_mode(0o000),
    )
    .unwrap();
    fs::write(dead.join("blob0"), "half").unwrap();
    let mut alive = store.blob_writer().unwrap();
    alive.write_all(b"still being written").unwrap();
    assert!(!dead.exists(), "a session begins by sweeping");
    let other = LocalStore::open(store.path()).unwrap();
    other.put_blob(b"another session").unwrap();
    assert_eq!(count(&tmp), 2);
    let (digest, _) = alive.commit(None).unwrap();
    assert!(other.blob_size(&digest).unwrap().is_some());
    drop((store, other));
    assert_eq!(count(&tmp), 0, "sessions end clean");
}

#[test]
fn trees_of_any_kind_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(folder.path().join("outside"), "kept").unwrap();
    std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
    std::os::unix::fs::symlink("/", root.join("a/top")).unwrap();
    let device = rustix::fs::makedev(0, 0);
    let whiteout = root.join("a/gone");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &whiteout,
        rustix::fs::FileType::CharacterDevice,
        0.into(),
        device,
    )
    .unwrap();
    let mut deep = root.join("deep");
    for _ in 0..100 {
        fs::create_dir(&deep).unwrap();
        deep.push("deep");
    }
    fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o000)).unwrap();
    remove_tree(&root).unwrap();
    assert!(!root.exists());
    assert_eq!(
        fs::read_to_string(folder.path().join("outside")).unwrap(),
        "kept"
    );
    remove_tree(&root).unwrap();
}

#[test]
fn snapshots_made_right_before_the_machine_crashed_are_not_used() {
    let (_folder, store) = fresh();
    let layer = DiffId::of(b"layer");
    let make = |store: &LocalStore, content: &str| {
        let staging = store.stage().unwrap();
        fs::write(staging.upper().join("f"), content).unwrap();
        store.commit_snapshot(staging, &layer).unwrap();
    };
    make(&store, "perhaps lost");
    let again = LocalStore::open(store.path()).unwrap();
    assert!(
        again.snapshot(&layer).unwrap().is_some(),
        "the machine has not gone down"
    );
    fs::write(store.path().join("boot"), "another run of the machine").unwrap();
    let after = LocalStore::open(store.path()).unwrap();
    assert_eq!(after.snapshot(&layer).unwrap(), None);
    make(&after, "made again");
    let later = LocalStore::open(store.path()).unwrap();
    assert!(later.snapshot(&layer).unwrap().is_some(), "once is enough");
}
