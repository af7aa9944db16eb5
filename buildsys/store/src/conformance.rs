//! What every store must do. Each implementation's tests call [`all`].

#![expect(
    clippy::unwrap_used,
    reason = "a conformance failure is a panic with its line"
)]

use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tbuild_digest::{ActionKey, BlobDigest, DiffId};

use crate::{Store, StoreError};

/// Runs the whole suite on an empty store.
pub fn all(store: &dyn Store) {
    blobs(store);
    actions(store);
    references(store);
    snapshots(store);
    concurrent_writers(store);
    locks(store);
}

/// Blobs: visible only whole, only under their own digest; readable from anywhere.
pub fn blobs(store: &dyn Store) {
    let digest = BlobDigest::of(b"hello");
    assert!(store.open_blob(&digest).unwrap().is_none());
    let mut dropped = store.blob_writer().unwrap();
    dropped.write_all(b"hello").unwrap();
    drop(dropped);
    assert_eq!(
        store.blob_size(&digest).unwrap(),
        None,
        "a dropped writer leaves nothing"
    );

    let mut wrong = store.blob_writer().unwrap();
    wrong.write_all(b"hellO").unwrap();
    assert!(matches!(
        wrong.commit(Some(&digest)),
        Err(StoreError::Mismatch { .. })
    ));
    assert_eq!(
        store.blob_size(&digest).unwrap(),
        None,
        "a mismatch leaves nothing"
    );

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
        store
            .set_reference("test", name, Some(name.as_bytes()))
            .unwrap();
    }
    for name in names {
        assert_eq!(
            store.reference("test", name).unwrap().unwrap(),
            name.as_bytes()
        );
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

/// Many writers of one blob: each succeeds, and whoever looks sees all of it or nothing.
pub fn concurrent_writers(store: &dyn Store) {
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = BlobDigest::of(&bytes);
    let bytes = bytes.as_slice();
    thread::scope(|scope| {
        for piece in [1 << 10, 1 << 14, 100_000, bytes.len()] {
            scope.spawn(move || {
                let mut writer = store.blob_writer().unwrap();
                for part in bytes.chunks(piece) {
                    writer.write_all(part).unwrap();
                }
                let committed = writer.commit(Some(&digest)).unwrap();
                assert_eq!(committed, (digest, bytes.len() as u64));
                assert_eq!(store.read_blob(&digest).unwrap().unwrap(), bytes);
            });
        }
        scope.spawn(move || {
            for _ in 0..200 {
                if let Some(seen) = store.read_blob(&digest).unwrap() {
                    assert_eq!(seen.len(), bytes.len());
                }
            }
        });
    });
}

/// Locks: one holder at a time of one name, whatever the name; other names are free.
pub fn locks(store: &dyn Store) {
    let long = "/lock".repeat(100);
    let held = store.lock(&long).unwrap();
    drop(store.lock("another").unwrap());
    drop(held);
    let inside = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let guard = store.lock(&long).unwrap();
                    assert_eq!(
                        inside.fetch_add(1, Ordering::SeqCst),
                        0,
                        "two hold one lock"
                    );
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(guard);
                }
            });
        }
    });
}
