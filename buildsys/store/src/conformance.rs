//! What every store must do. Each implementation's tests call [`all`].

#![expect(clippy::unwrap_used, reason = "a conformance failure is a panic with its line")]

use std::io::{Read, Seek, SeekFrom, Write};

use tbuild_digest::{ActionKey, BlobDigest, DiffId};

use crate::{Store, StoreError};

/// Runs the whole suite on an empty store.
pub fn all(store: &dyn Store) {
    blobs(store);
    actions(store);
    references(store);
    snapshots(store);
}

/// Blobs: visible only whole, only under their own digest; readable from anywhere.
pub fn blobs(store: &dyn Store) {
    let digest = BlobDigest::of(b"hello");
    assert!(store.open_blob(&digest).unwrap().is_none());
    let mut dropped = store.blob_writer().unwrap();
    dropped.write_all(b"hello").unwrap();
    drop(dropped);
    assert_eq!(store.blob_size(&digest).unwrap(), None, "a dropped writer leaves nothing");

    let mut wrong = store.blob_writer().unwrap();
    wrong.write_all(b"hellO").unwrap();
    assert!(matches!(wrong.commit(Some(&digest)), Err(StoreError::Mismatch { .. })));
    assert_eq!(store.blob_size(&digest).unwrap(), None, "a mismatch leaves nothing");

    assert_eq!(store.put_blob(b"hello").unwrap(), digest);
    assert_eq!(store.put_blob(b"hello").unwrap(), digest, "twice is once");
    assert_eq!(store.blob_size(&digest).unwrap(), Some(5));
    let mut reader = store.open_blob(&digest).unwrap().unwrap();
    reader.seek(SeekFrom::Start(2)).unwrap();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "llo");
    let empty = store.put_blob(b"").unwrap();
    assert_eq!(store.read_blob(&empty).unwrap().unwrap(), b"");
}

/// Action results: the last one counts.
pub fn actions(store: &dyn Store) {
    let key = ActionKey::of(b"key");
    assert_eq!(store.action(&key).unwrap(), None);
    store.put_action(&key, b"one").unwrap();
    store.put_action(&key, b"two").unwrap();
    assert_eq!(store.action(&key).unwrap().unwrap(), b"two");
}

/// References: any text is a name, spaces are apart.
pub fn references(store: &dyn Store) {
    let long = "long".repeat(100);
    let names = ["a", "a/b:c@d", "..", "\u{fc}ber \u{1f600}", long.as_str()];
    for name in names {
        assert_eq!(store.reference("test", name).unwrap(), None);
        store.set_reference("test", name, Some(name.as_bytes())).unwrap();
    }
    for name in names {
        assert_eq!(store.reference("test", name).unwrap().unwrap(), name.as_bytes());
        assert_eq!(store.reference("other", name).unwrap(), None);
    }
    let mut sorted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    sorted.sort();
    assert_eq!(store.references("test").unwrap(), sorted);
    store.set_reference("test", "a", None).unwrap();
    store.set_reference("test", "a", None).unwrap();
    assert_eq!(store.reference("test", "a").unwrap(), None);
    assert_eq!(store.references("test").unwrap().len(), names.len() - 1);
}

/// Snapshots: there only when committed; the first one stays.
pub fn snapshots(store: &dyn Store) {
    let diff_id = DiffId::of(b"layer");
    assert_eq!(store.snapshot(&diff_id).unwrap(), None);
    let dropped = store.stage().unwrap();
    let gone = dropped.upper().to_owned();
    assert!(gone.is_dir() && dropped.work().is_dir());
    drop(dropped);
    assert!(!gone.exists(), "a dropped stage leaves nothing");

    for content in ["first", "second"] {
        let staging = store.stage().unwrap();
        std::fs::write(staging.upper().join("file"), content).unwrap();
        let path = store.commit_snapshot(staging, &diff_id).unwrap();
        assert_eq!(store.snapshot(&diff_id).unwrap(), Some(path.clone()));
        assert_eq!(std::fs::read_to_string(path.join("file")).unwrap(), "first");
    }
}
