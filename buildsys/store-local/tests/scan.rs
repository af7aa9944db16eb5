//! The scanner against a plain reading of the same folder, over any sequence of changes.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tbuild_digest::Sha256;
use tbuild_store_local::{LocalStore, Modes, Scan, ScanError, Verdict, scan};
use tbuild_tree::{Entry, Node, Tree, TreePath};

struct Fixture {
    _folder: tempfile::TempDir,
    store: LocalStore,
    root: std::path::PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        let store = LocalStore::open(&folder.path().join("store")).unwrap();
        Self {
            _folder: folder,
            store,
            root,
        }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn scan(&self) -> Scan {
        self.scan_by(b"all", &|_, _| Verdict::Keep).unwrap()
    }

    fn scan_by(
        &self,
        id: &[u8],
        filter: &(dyn Fn(&TreePath, bool) -> Verdict + Sync),
    ) -> Result<Scan, ScanError> {
        scan(
            &self.store,
            &self.root,
            &Sha256::of(id),
            filter,
            Modes::Kept,
            2,
        )
    }

    /// Lets everything written so far be old enough to be trusted.
    fn settle(&self) {
        sleep(Duration::from_millis(60));
        self.scan();
    }
}

/// What a scan should find, read by other means.
fn plain(root: &Path, filter: &dyn Fn(&TreePath, bool) -> Verdict) -> Tree {
    fn visit(
        folder: &Path,
        at: &TreePath,
        filter: &dyn Fn(&TreePath, bool) -> Verdict,
        entries: &mut Vec<Entry>,
    ) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = at.join(entry.file_name().as_bytes());
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            let verdict = filter(&path, metadata.is_dir());
            let mode = metadata.mode() & 0o7777;
            match verdict {
                Verdict::Keep => {}
                Verdict::Descend if metadata.is_dir() => {}
                _ => continue,
            }
            if metadata.is_dir() {
                let mut inner = Vec::new();
                visit(&entry.path(), &path, filter, &mut inner);
                if verdict == Verdict::Keep || !inner.is_empty() {
                    entries.push(Entry::new(path, mode, Node::Directory));
                    entries.append(&mut inner);
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                let target = target.as_os_str().as_bytes().to_vec();
                entries.push(Entry::new(path, 0o777, Node::Symlink { target }));
            } else {
                let content = fs::read(entry.path()).unwrap();
                let node = Node::File {
                    size: content.len() as u64,
                    digest: Sha256::of(&content),
                };
                entries.push(Entry::new(path, mode, node));
            }
        }
    }
    let mut entries = Vec::new();
    visit(root, &TreePath::root(), filter, &mut entries);
    Tree::new(entries).unwrap()
}

fn assert_right(scan: &Scan, expected: &Tree) {
    assert_eq!(*scan.tree, *expected);
    assert_eq!(scan.digest, expected.digest());
    for entry in expected.entries() {
        assert_eq!(
            scan.digest_at(&entry.path),
            expected.digest_at(&entry.path),
            "{}",
            entry.path
        );
    }
    assert_eq!(scan.digest_at(&TreePath::root()), Some(expected.digest()));
    assert_eq!(scan.digest_at(&"no/such".into()), None);
}

#[test]
fn unchanged_files_are_not_read_again() {
    let fixture = Fixture::new();
    for number in 0..600 {
        fixture.write(&format!("wide/{number}"), "x");
        fixture.write(
            &format!("deep/{}/{number}", number % 7),
            &number.to_string(),
        );
    }
    fixture.write("large", &"large".repeat(200_000));
    symlink("nowhere", fixture.root.join("link")).unwrap();
    let first = fixture.scan();
    assert_eq!((first.stats.files, first.stats.hashed), (1201, 1201));
    fixture.settle();
    let again = fixture.scan();
    assert_eq!((again.stats.files, again.stats.hashed), (1201, 0));
    assert_right(&again, &plain(&fixture.root, &|_, _| Verdict::Keep));

    fixture.write("wide/77", "yy");
    let edited = fixture.scan();
    assert_eq!((edited.stats.hashed, edited.stats.bytes_hashed), (1, 2));
    assert_right(&edited, &plain(&fixture.root, &|_, _| Verdict::Keep));
}

#[test]
fn an_unchanged_folder_costs_no_write() {
    let fixture = Fixture::new();
    fixture.write("a/b", "x");
    fixture.scan();
    fixture.settle();
    let files = || -> Vec<_> {
        let cache = fixture.store.path().join("statcache");
        let folder = fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| fs::metadata(entry.unwrap().path()).unwrap().ino())
            .collect()
    };
    fixture.scan();
    let before = files();
    fixture.scan();
    assert_eq!(files(), before);
    fixture.write("a/c", "x");
    fixture.scan();
    assert_ne!(files(), before);
}

#[test]
fn touching_reads_but_changes_nothing() {
    let fixture = Fixture::new();
    fixture.write("a/b", "x");
    let before = fixture.scan();
    fixture.settle();
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::File::options()
        .write(true)
        .open(fixture.root.join("a/b"))
        .unwrap();
    file.set_modified(old).unwrap();
    let touched = fixture.scan();
    assert_eq!(touched.stats.hashed, 1);
    assert_eq!(touched.digest, before.digest);
}

#[test]
fn same_size_and_time_do_not_hide_a_change() {
    let fixture = Fixture::new();
    fixture.write("f", "one");
    let file = fs::File::options()
        .write(true)
        .open(fixture.root.join("f"))
        .unwrap();
    let time = file.metadata().unwrap().modified().unwrap();
    fixture.scan();
    fixture.settle();
    fs::write(fixture.root.join("f"), "two").unwrap();
    file.set_modified(time).unwrap();
    assert_right(
        &fixture.scan(),
        &plain(&fixture.root, &|_, _| Verdict::Keep),
    );
    // Replaced by another file of the same size and time.
    fs::write(fixture.root.join("g"), "six").unwrap();
    fs::File::options()
        .write(true)
        .open(fixture.root.join("g"))
        .unwrap()
        .set_modified(time)
        .unwrap();
    fs::rename(fixture.root.join("g"), fixture.root.join("f")).unwrap();
    assert_right(
        &fixture.scan(),
        &plain(&fixture.root, &|_, _| Verdict::Keep),
    );
}

#[test]
fn what_was_written_just_before_is_not_trusted() {
    let fixture = Fixture::new();
    fixture.write("f", "x");
    let file = fs::File::options()
        .write(true)
        .open(fixture.root.join("f"))
        .unwrap();
    fixture.settle();
    // A time right after the scan's start is that of a file which is being written.
    file.set_modified(SystemTime::now() + Duration::from_secs(1))
        .unwrap();
    assert_eq!(fixture.scan().stats.hashed, 1);
    assert_eq!(
        fixture.scan().stats.hashed,
        1,
        "it was taken to be unchanged"
    );
    // One far in the future was set by hand: the change time decides.
    file.set_modified(SystemTime::now() + Duration::from_secs(1_000_000))
        .unwrap();
    sleep(Duration::from_millis(60));
    fixture.scan();
    assert_eq!(fixture.scan().stats.hashed, 0);
}

#[test]
fn verdicts_are_remembered_for_a_filter_and_for_no_other() {
    let fixture = Fixture::new();
    for path in [
        "keep/a",
        "skip/b",
        "skip/deeper/c",
        "maybe/x/kept",
        "maybe/y/z/not",
        "top",
    ] {
        fixture.write(path, path);
    }
    let asked = AtomicUsize::new(0);
    let filter = |path: &TreePath, folder: bool| {
        asked.fetch_add(1, Ordering::Relaxed);
        let text = path.to_string();
        if text.starts_with("/skip") {
            Verdict::Skip
        } else if text.starts_with("/maybe") && !text.ends_with("kept") {
            if folder {
                Verdict::Descend
            } else {
                Verdict::Skip
            }
        } else {
            Verdict::Keep
        }
    };
    let expected = plain(&fixture.root, &filter);
    let names: Vec<String> = expected
        .entries()
        .iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(
        names,
        [
            "/keep",
            "/keep/a",
            "/maybe",
            "/maybe/x",
            "/maybe/x/kept",
            "/top"
        ]
    );
    let first = fixture.scan_by(b"some", &filter).unwrap();
    assert_right(&first, &expected);
    asked.store(0, Ordering::Relaxed);
    assert_right(&fixture.scan_by(b"some", &filter).unwrap(), &expected);
    assert_eq!(asked.load(Ordering::Relaxed), 0, "nothing is new");
    fixture.write("skip/more", "");
    fixture.write("maybe/y/kept", "");
    let more = fixture.scan_by(b"some", &filter).unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_right(&more, &plain(&fixture.root, &filter));
    // Another filter sees everything, and need not read again what this one has read.
    sleep(Duration::from_millis(60));
    fixture.scan_by(b"some", &filter).unwrap();
    let all = fixture.scan();
    assert_right(&all, &plain(&fixture.root, &|_, _| Verdict::Keep));
    assert_eq!(all.stats.files - all.stats.hashed, 4);
}

/// A checkout is the same tree under every umask, whatever was known of the folder as it is.
#[test]
fn modes_as_git_has_them() {
    let fixture = Fixture::new();
    let all = |_: &TreePath, _: bool| Verdict::Keep;
    let git = || {
        scan(
            &fixture.store,
            &fixture.root,
            &Sha256::of(b"all"),
            &all,
            Modes::Git,
            2,
        )
        .unwrap()
    };
    fixture.write("sub/file", "x");
    fixture.write("sub/large", &"x".repeat(300_000));
    fixture.write("program", "y");
    let set = |path: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(fixture.root.join(path), mode).unwrap();
    };
    let mut seen = Vec::new();
    for umask in [0o000, 0o002, 0o022, 0o077] {
        for file in ["sub/file", "sub/large"] {
            set(file, 0o666 & !umask);
        }
        set("sub", 0o2777 & !umask);
        set("program", 0o777 & !umask);
        fixture.settle();
        let kept = fixture.scan();
        assert_eq!(
            kept.tree.get(&"program".into()).unwrap().mode,
            0o777 & !umask
        );
        for _ in 0..2 {
            let scan = git();
            let modes = ["sub", "sub/file", "sub/large", "program"]
                .map(|path| scan.tree.get(&path.into()).unwrap().mode);
            assert_eq!(modes, [0o755, 0o644, 0o644, 0o755]);
            assert_eq!(scan.digest, scan.tree.digest());
            seen.push(scan.digest);
        }
        assert_ne!(git().digest, kept.digest, "the folder has a set-id bit");
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    set("sub/file", 0o744);
    assert_ne!(git().digest, seen[0], "a program is another file");
}

#[test]
fn odd_files_and_modes() {
    let fixture = Fixture::new();
    fixture.write("setuid", "x");
    fs::set_permissions(
        fixture.root.join("setuid"),
        fs::Permissions::from_mode(0o4711),
    )
    .unwrap();
    fs::create_dir(fixture.root.join("sticky")).unwrap();
    fs::set_permissions(
        fixture.root.join("sticky"),
        fs::Permissions::from_mode(0o1777),
    )
    .unwrap();
    fs::hard_link(fixture.root.join("setuid"), fixture.root.join("second")).unwrap();
    fs::write(
        fixture.root.join(std::ffi::OsStr::from_bytes(b"\xff\xfe")),
        "no UTF-8",
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(fixture.root.join("socket")).unwrap();
    let scan = fixture.scan();
    let find = |path: &str| scan.tree.get(&path.into()).cloned();
    assert_eq!(find("setuid").unwrap().mode, 0o4711);
    assert_eq!(find("second").unwrap().node, find("setuid").unwrap().node);
    assert_eq!(find("sticky").unwrap().mode, 0o1777);
    assert_eq!(find("socket"), None);
    assert_eq!(scan.tree.entries().len(), 4);
    assert_eq!(
        (find("setuid").unwrap().uid, find("setuid").unwrap().mtime),
        (0, 315_532_800)
    );

    let make = |name: &str, kind, device| {
        let path = fixture.root.join(name);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o644.into(), device).unwrap();
    };
    make("pipe", rustix::fs::FileType::Fifo, 0);
    let all = || fixture.scan_by(b"all", &|_, _| Verdict::Keep);
    for mode in [0o644, 0o644, 0o600] {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(fixture.root.join("pipe"), permissions).unwrap();
        let scan = all().unwrap();
        let found = scan.tree.get(&"pipe".into()).unwrap();
        assert_eq!((&found.node, found.mode), (&Node::Fifo, mode));
    }

    make(
        "null",
        rustix::fs::FileType::CharacterDevice,
        rustix::fs::makedev(1, 3),
    );
    let error = all().unwrap_err();
    assert!(
        matches!(&error, ScanError::Special { path, .. } if path.ends_with("null")),
        "{error}"
    );
    let skipping = |path: &TreePath, _| {
        if [&b"pipe"[..], b"null"].contains(&path.as_bytes()) {
            Verdict::Skip
        } else {
            Verdict::Keep
        }
    };
    assert_eq!(
        fixture.scan_by(b"plain files", &skipping).unwrap().tree,
        scan.tree
    );
}

#[test]
fn a_missing_folder_is_named() {
    let fixture = Fixture::new();
    fs::remove_dir(&fixture.root).unwrap();
    let error = fixture.scan_by(b"all", &|_, _| Verdict::Keep).unwrap_err();
    assert!(error.to_string().contains("root"), "{error}");
}

#[test]
fn a_damaged_cache_is_as_good_as_none() {
    let fixture = Fixture::new();
    for number in 0..50 {
        fixture.write(&format!("{}/{number}", number % 3), &number.to_string());
    }
    let expected = fixture.scan();
    fixture.settle();
    let cache = fixture.store.path().join("statcache");
    let folder = fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    let file = fs::read_dir(folder)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(97) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        for bytes in [&damaged[..], &whole[..at], &vec![0; whole.len()]] {
            fs::write(&file, bytes).unwrap();
            let scan = fixture.scan();
            assert_eq!((scan.digest, scan.stats.hashed), (expected.digest, 50));
        }
    }
}

#[test]
fn a_folder_that_others_change_meanwhile_gives_a_tree_or_an_error() {
    let fixture = Fixture::new();
    for number in 0..400 {
        fixture.write(&format!("{}/{number}", number % 20), "x");
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let folder = fixture.root.join((round % 20).to_string());
                let aside = fixture.root.join("aside");
                if fs::rename(&folder, &aside).is_ok() {
                    fs::write(aside.join("new"), round.to_string()).unwrap();
                    fs::remove_file(aside.join("new")).unwrap();
                    fs::rename(&aside, &folder).unwrap();
                }
            }
        });
        for _ in 0..50 {
            match fixture.scan_by(b"all", &|_, _| Verdict::Keep) {
                Ok(scan) => assert_eq!(scan.digest, scan.tree.digest()),
                Err(ScanError::Unstable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_right(
        &fixture.scan(),
        &plain(&fixture.root, &|_, _| Verdict::Keep),
    );
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, u8),
    Remove(usize),
    Mode(usize, u32),
    Link(usize, u8),
    Folder(usize),
    Touch(usize),
    Settle,
}

const PATHS: &[&str] = &[
    "a", "a/b", "a/b/c", "a-b", "a.b/x", "d", "d/e/f/g", "d/e/h", "z",
];

fn any_change() -> impl Strategy<Value = Change> {
    let path = 0..PATHS.len();
    prop_oneof![
        4 => (path.clone(), 0..4_u8).prop_map(|(at, byte)| Change::Write(at, byte)),
        2 => path.clone().prop_map(Change::Remove),
        1 => (path.clone(), prop::sample::select(vec![0o755, 0o644, 0o4755]))
            .prop_map(|(at, mode)| Change::Mode(at, mode)),
        1 => (path.clone(), 0..3_u8).prop_map(|(at, byte)| Change::Link(at, byte)),
        1 => path.clone().prop_map(Change::Folder),
        1 => path.prop_map(Change::Touch),
        1 => Just(Change::Settle),
    ]
}

/// Makes a change; one that cannot be made is none.
fn apply(root: &Path, change: &Change) {
    let clear = |at: usize| {
        let path = root.join(PATHS[at]);
        let _ = fs::create_dir_all(path.parent().unwrap());
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        path
    };
    match change {
        Change::Write(at, byte) => {
            let _ = fs::write(root.join(PATHS[*at]), [*byte])
                .or_else(|_| fs::write(clear(*at), vec![*byte; usize::from(*byte)]));
        }
        Change::Remove(at) => {
            clear(*at);
        }
        Change::Mode(at, mode) => {
            let path = root.join(PATHS[*at]);
            if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_symlink()) {
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
            }
        }
        Change::Link(at, byte) => {
            let _ = symlink(byte.to_string(), clear(*at));
        }
        Change::Folder(at) => {
            let _ = fs::create_dir(clear(*at));
        }
        Change::Touch(at) => {
            let path = root.join(PATHS[*at]);
            if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(SystemTime::now()).unwrap();
            }
        }
        Change::Settle => sleep(Duration::from_millis(45)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_cache_never_shows(changes in prop::collection::vec(any_change(), 1..25)) {
        let fixture = Fixture::new();
        let filter = |path: &TreePath, folder: bool| match path.as_bytes() {
            b"z" | b"d/e/h" => Verdict::Skip,
            b"d" | b"d/e" | b"d/e/f" if folder => Verdict::Descend,
            _ => Verdict::Keep,
        };
        for change in &changes {
            apply(&fixture.root, change);
            let all = fixture.scan();
            assert_right(&all, &plain(&fixture.root, &|_, _| Verdict::Keep));
            let some = fixture.scan_by(b"some", &filter).unwrap();
            assert_right(&some, &plain(&fixture.root, &filter));
        }
    }
}

#[test]
fn a_file_that_is_being_written_is_read_right_or_named() {
    let fixture = Fixture::new();
    fixture.write("busy", &"x".repeat(4 << 20));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let path = fixture.root.join("busy");
            let mut file = fs::File::options().append(true).open(path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                std::io::Write::write_all(&mut file, b"x").unwrap();
            }
        });
        for _ in 0..5 {
            match fixture.scan_by(b"all", &|_, _| Verdict::Keep) {
                Ok(scan) => {
                    let Node::File { size, digest } = scan.tree.entries()[0].node else {
                        panic!("{:?}", scan.tree);
                    };
                    assert_eq!(digest, Sha256::of("x".repeat(size as usize).as_bytes()));
                }
                Err(error) => assert!(
                    matches!(&error, ScanError::Unstable(path) if path.ends_with("busy")),
                    "{error}"
                ),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_right(
        &fixture.scan(),
        &plain(&fixture.root, &|_, _| Verdict::Keep),
    );
}
