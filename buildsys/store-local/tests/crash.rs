//! A process that is killed at any instant leaves a store that is right.
//!
//! The test starts this same program again as a writer that never ends, kills it at a moment that nobody
//! chose, and looks at what is left.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use tbuild_digest::{ActionKey, BlobDigest, DiffId, Sha256};
use tbuild_store::Store as _;
use tbuild_store_local::{LocalStore, Modes, Policy, Verdict, scan};

/// Names the folder that the writer works in.
const FOLDER: &str = "TBUILD_TEST_CRASH_FOLDER";
const FILES: usize = 40;
const ROUNDS: usize = 30;

/// Bytes that follow from a number.
fn bytes_of(number: u64, len: usize) -> Vec<u8> {
    let seed = Sha256::of(&number.to_le_bytes()).0;
    seed.iter().copied().cycle().take(len).collect()
}

fn layer(number: u64) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for file in 0..FILES {
        let content = bytes_of(number, 1000 + file);
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let path = format!("d{}/f{file}", file % 5);
        tar.append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

/// Not a test of its own: what the other one starts and kills.
#[test]
fn writer() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let root = folder.join("root");
    for number in u64::from(std::process::id()) << 20.. {
        // Opened anew each time, so that opening is among what is cut short.
        let store = LocalStore::open(&folder.join("store")).unwrap();
        let held = store.lock("held").unwrap();
        fs::write(root.join((number % 50).to_string()), bytes_of(number, 5000)).unwrap();
        scan(
            &store,
            &root,
            &Sha256::of(b"all"),
            &|_, _| Verdict::Keep,
            Modes::Kept,
            2,
        )
        .unwrap();
        drop(held);
        store
            .put_blob(&bytes_of(number, 1 << (number % 21)))
            .unwrap();
        let name = format!("{}/{number}", "name".repeat(number as usize % 100));
        store
            .set_reference("test", &name, Some(name.as_bytes()))
            .unwrap();
        store
            .set_reference("test", "shared", Some(&bytes_of(number, 32 * 500)))
            .unwrap();
        let key = ActionKey::of(&number.to_le_bytes());
        store.put_action(&key, &bytes_of(number, 3000)).unwrap();
        // Collecting garbage and adding to the store exclude each other.
        let held = store.hold().unwrap();
        let digest = store.put_blob(&layer(number)).unwrap();
        store.ensure_snapshot(&DiffId(digest.0)).unwrap();
        drop(held);
        if number % 5 == 4 {
            let policy = Policy {
                used_since: SystemTime::now() - Duration::from_millis(20),
                most: None,
                roots: &[],
                memories: &["test"],
                hints: &[],
                caches: &[],
            };
            store.collect(&policy, false, &mut |_| true).unwrap();
        }
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn names(folder: PathBuf) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Everything visible is whole. Returns how much there was.
fn check(folder: &Path) -> usize {
    let store = LocalStore::open(&folder.join("store")).unwrap();
    drop(store.lock("held").unwrap());
    let mut seen = 0;
    for name in names(store.path().join("blobs/sha256")) {
        let digest: BlobDigest = format!("sha256:{name}").parse().unwrap();
        assert!(store.read_blob(&digest).unwrap().is_some());
        seen += 1;
    }
    for name in store.references("test").unwrap() {
        let value = store
            .reference("test", &name)
            .unwrap()
            .expect("a listed reference is whole");
        if name == "shared" {
            assert_eq!(value, value[..32].repeat(500));
        } else {
            assert_eq!(value, name.as_bytes());
        }
        seen += 1;
    }
    for shard in names(store.path().join("actions")) {
        for name in names(store.path().join("actions").join(shard)) {
            let key = ActionKey(Sha256::from_hex(&name).unwrap());
            let result = store
                .action(&key)
                .unwrap()
                .expect("a visible result is whole");
            assert_eq!(result.len(), 3000);
            seen += 1;
        }
    }
    for name in names(store.path().join("snapshots")) {
        let snapshot = store.path().join("snapshots").join(&name);
        let first = fs::read(snapshot.join("d0/f0")).unwrap();
        for file in 0..FILES {
            let content = fs::read(snapshot.join(format!("d{}/f{file}", file % 5))).unwrap();
            assert_eq!(content.len(), 1000 + file, "snapshot {name}");
            assert_eq!(content[..32], first[..32]);
        }
        seen += 1;
    }
    let root = folder.join("root");
    let scan = scan(
        &store,
        &root,
        &Sha256::of(b"all"),
        &|_, _| Verdict::Keep,
        Modes::Kept,
        2,
    )
    .unwrap();
    for entry in scan.tree.entries() {
        let content = fs::read(root.join(entry.path.to_string().trim_start_matches('/'))).unwrap();
        let node = tbuild_tree::Node::File {
            size: content.len() as u64,
            digest: Sha256::of(&content),
        };
        assert_eq!(entry.node, node, "{}", entry.path);
    }
    store.put_blob(format!("{seen}").as_bytes()).unwrap();
    // A file there is one of the first layout's, killed at once: it goes a minute later.
    let tmp = store.path().join("tmp");
    let mut sessions = names(tmp.clone());
    sessions.retain(|name| tmp.join(name).is_dir());
    assert_eq!(sessions.len(), 1, "the next writer sweeps: {sessions:?}");
    seen
}

#[test]
fn a_killed_writer_leaves_a_store_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("root")).unwrap();
    let begin = Instant::now();
    let mut most = 0;
    for round in 0..ROUNDS {
        let mut writers = [start(folder.path()), start(folder.path())];
        // Long enough to start on a busy machine, and at no particular moment of what follows.
        if round > 0 {
            let jitter = Sha256::of(&begin.elapsed().as_nanos().to_le_bytes()).0[0];
            std::thread::sleep(Duration::from_millis(20 + u64::from(jitter) / 2));
        }
        for writer in &mut writers {
            writer.kill().unwrap();
        }
        for writer in writers {
            let output = writer.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(
                output.status.code(),
                None,
                "the writer failed by itself: {said}"
            );
        }
        most = most.max(check(folder.path()));
    }
    assert!(
        most > 50,
        "the writers were killed before they wrote anything: {most}"
    );
}
