//! Bases built for real, from the archives that this machine's apt is configured with.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use common::chroot::Chroot;
use common::{bookworm, fetcher, now, verifier};
use tbuild_digest::BlobDigest;
use tbuild_exec::Cancel;
use tbuild_fetch::{Quiet, build_base};
use tbuild_store::{Staging, Store};

/// Every name below `root` with all that a layer records, but mtimes.
fn listing(root: &Path) -> BTreeMap<String, String> {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let content = if meta.is_symlink() {
                String::from_utf8_lossy(fs::read_link(&path).unwrap().as_os_str().as_bytes())
                    .into_owned()
            } else if meta.is_file() {
                BlobDigest::of(&fs::read(&path).unwrap()).to_string()
            } else {
                String::new()
            };
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.insert(
                name,
                format!(
                    "{:o} {}:{} {} {content}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.rdev()
                ),
            );
            if meta.is_dir() {
                visit(root, &path, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, root, &mut found);
    found
}

fn build(store: &dyn Store, lock: &tbuild_lock::BaseLock) -> Box<dyn Staging> {
    let staging = store.stage().unwrap();
    let mut log = Vec::new();
    let built = build_base(
        lock,
        store,
        &Chroot,
        staging.as_ref(),
        &mut |_, bytes| log.extend_from_slice(bytes),
        &Cancel::new(),
    );
    assert!(
        built.is_ok(),
        "{built:?}\n{}",
        String::from_utf8_lossy(&log)
    );
    if std::env::var_os("SHOW_LOG").is_some() {
        eprintln!("{}", String::from_utf8_lossy(&log));
    }
    staging
}

fn inside(root: &Path, script: &str) -> String {
    let output = Command::new("unshare")
        .args(["--mount", "--net", "--", "chroot"])
        .arg(root)
        .args(["/bin/sh", "-c", script])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_builds_give_one_tree() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut trees = Vec::new();
    let mut lock = None;
    for folder in &folders {
        let fetcher = fetcher(folder.path());
        let lock = match &lock {
            Some(lock) => lock,
            None => lock.insert(
                fetcher
                    .resolve_base(&bookworm(&["ca-certificates"]), &verifier(), now(), &Quiet)
                    .await
                    .unwrap(),
            ),
        };
        fetcher.fetch_base(lock, &Quiet).await.unwrap();
        let staging = build(fetcher.store.as_ref(), lock);
        trees.push(listing(staging.upper()));
        if trees.len() == 2 {
            let root = staging.upper();
            assert_eq!(inside(root, "dpkg --audit"), "");
            assert_eq!(inside(root, "dpkg -V"), "");
            assert_eq!(
                inside(
                    root,
                    "dpkg-query -f '${db:Status-Status}\\n' -W | sort | uniq"
                ),
                "installed\n"
            );
            let installed = inside(root, "dpkg-query -f '${Package} ${Version}\\n' -W | sort");
            let mut locked: Vec<String> = lock
                .packages
                .iter()
                .map(|one| format!("{} {}", one.name, one.version))
                .collect();
            locked.sort();
            assert_eq!(installed.lines().collect::<Vec<_>>(), locked);
            // A certificate bundle is what the included package's script makes.
            assert!(
                inside(root, "wc -c < /etc/ssl/certs/ca-certificates.crt")
                    .trim()
                    .parse::<u64>()
                    .unwrap()
                    > 100_000
            );
            if let Some(keep) = std::env::var_os("KEEP_TREE") {
                Command::new("cp")
                    .arg("-a")
                    .arg(root)
                    .arg(keep)
                    .status()
                    .unwrap();
            }
        }
    }
    let (one, other) = (&trees[0], &trees[1]);
    let differing: Vec<_> = one
        .iter()
        .filter(|(name, entry)| other.get(*name) != Some(entry))
        .map(|(name, entry)| format!("{name}: {entry} / {:?}", other.get(name)))
        .chain(
            other
                .keys()
                .filter(|name| !one.contains_key(*name))
                .cloned(),
        )
        .collect();
    assert!(differing.is_empty(), "{differing:#?}");
    assert!(one.len() > 5_000);
    for gone in [
        "etc/machine-id",
        "etc/hostname",
        "var/log/dpkg.log",
        "usr/sbin/policy-rc.d",
        "run/tbuild-packages",
    ] {
        let empty = one
            .get(gone)
            .is_none_or(|entry| entry.ends_with(&BlobDigest::of(b"").to_string()));
        assert!(empty, "{gone}: {:?}", one.get(gone));
    }
}
