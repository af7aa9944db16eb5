//! Bases built for real, from the archives that this machine's apt is configured with.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::chroot::Chroot;
use common::tree::{difference, listing};
use common::{bookworm, fetcher, now, verifier};
use tbuild_digest::BlobDigest;
use tbuild_exec::{Cancel, Stream};
use tbuild_fetch::{
    BaseSpec, BuildBaseError, Fetcher, Quiet, apt_sources_for, build_base, suite_origin,
};
use tbuild_lock::BaseLock;
use tbuild_store::{Staging, Store};
use tbuild_tree::SOURCE_DATE_EPOCH;

fn build(store: &dyn Store, lock: &BaseLock) -> Box<dyn Staging> {
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
    staging
}

/// Runs a script in a root, on the machine's network.
fn inside(root: &Path, script: &str) -> String {
    let output = Command::new("unshare")
        .args([
            "--mount",
            "--",
            "/bin/sh",
            "-c",
            "mount --rbind /dev \"$1/dev\" && exec chroot \"$1\" /bin/sh -c \"$2\"",
            "sh",
        ])
        .arg(root)
        .arg(script)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    said
}

/// In a base, apt works with this machine's sources, as in a RUN step.
fn packages_install(fetcher: &Fetcher, root: &Path, lock: &BaseLock) {
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let suites = bookworm(&[]).suites();
    let sources = apt_sources_for(
        &fetcher.origins,
        &lock.origin,
        &suites,
        &lock.components,
        keyring,
    )
    .unwrap();
    assert_eq!(sources.matches("Types: deb").count(), 2, "{sources}");
    fs::write(root.join("etc/apt/sources.list.d/machine.sources"), sources).unwrap();
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).unwrap();
    let log = inside(
        root,
        "apt-get update 2>&1 && apt-get install --yes --no-install-recommends hello 2>&1 && hello",
    );
    assert!(log.contains("Hello, world!"), "{log}");
    assert!(!log.contains("W: ") && !log.contains("E: "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mmdebstrap_makes_the_same_system() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let lock = fetcher
        .resolve_base(&bookworm(&[]), &verifier(), now(), &Quiet)
        .await
        .unwrap();
    fetcher.fetch_base(&lock, &Quiet).await.unwrap();
    let staging = build(fetcher.store.as_ref(), &lock);

    let theirs = folder.path().join("mmdebstrap");
    let mut command = Command::new("mmdebstrap");
    command.env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH.to_string());
    command.args([
        "--quiet",
        "--variant=minbase",
        "--mode=root",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "bookworm",
    ]);
    command.arg(&theirs);
    for suite in bookworm(&[]).suites() {
        let url = &fetcher
            .origins
            .urls(&suite_origin("debian", &suite))
            .unwrap()[0];
        command.arg(format!("deb {url} {suite} main"));
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut ours = listing(staging.upper());
    let mut theirs = listing(&theirs);
    // Devices are mounted, hosts named, and caches made while a container runs; the rest is what tools leave.
    let left_out = |name: &str| {
        let exact = [
            "etc/.pwd.lock",
            "etc/apt/sources.list",
            "etc/fstab",
            "etc/hostname",
            "etc/resolv.conf",
            "var/lib/apt/extended_states",
            "var/lib/dpkg/arch",
            "var/lib/dpkg/lock",
            "var/lib/dpkg/lock-frontend",
            "var/lib/dpkg/triggers/Lock",
            "etc/group-",
            "etc/passwd-",
            "etc/shadow-",
            "etc/gshadow-",
        ];
        let below = ["dev/", "var/cache/apt/", "var/lib/apt/lists/"];
        exact.contains(&name)
            || below.iter().any(|folder| name.starts_with(folder))
            || name.ends_with("-old")
    };
    for tree in [&mut ours, &mut theirs] {
        tree.retain(|name, _| !left_out(name));
    }
    // dpkg itself reads it where it is.
    ours.remove("var/lib/dpkg/available");
    assert_eq!(difference(&ours, &theirs), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_ships_merged_usr_itself() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let spec = BaseSpec {
        suite: "trixie".into(),
        extra_suites: vec!["trixie-security".into()],
        ..bookworm(&[])
    };
    let lock = fetcher
        .resolve_base(&spec, &verifier(), now(), &Quiet)
        .await
        .unwrap();
    fetcher.fetch_base(&lock, &Quiet).await.unwrap();
    let staging = build(fetcher.store.as_ref(), &lock);
    let root = staging.upper();
    assert_eq!(inside(root, "dpkg --audit"), "");
    assert_eq!(inside(root, "dpkg -V"), "");
    for name in ["bin", "sbin", "lib", "lib64"] {
        assert_eq!(
            fs::read_link(root.join(name)).unwrap(),
            Path::new("usr").join(name)
        );
    }
    assert!(inside(root, "cat /etc/os-release").contains("trixie"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_fails_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let mut lock = fetcher
        .resolve_base(&bookworm(&[]), &verifier(), now(), &Quiet)
        .await
        .unwrap();
    let staging = fetcher.store.stage().unwrap();
    let mut quiet = |_: Stream, _: &[u8]| {};
    let error = build_base(
        &lock,
        fetcher.store.as_ref(),
        &Chroot,
        staging.as_ref(),
        &mut quiet,
        &Cancel::new(),
    )
    .unwrap_err();
    assert!(matches!(error, BuildBaseError::Missing { .. }), "{error}");

    fetcher.fetch_base(&lock, &Quiet).await.unwrap();
    // dpkg is told to put up with what is missing at first; nothing may be missing in the end.
    lock.packages
        .retain(|package| package.name != "libpam-runtime");
    let error = build_base(
        &lock,
        fetcher.store.as_ref(),
        &Chroot,
        staging.as_ref(),
        &mut quiet,
        &Cancel::new(),
    )
    .unwrap_err();
    assert!(matches!(error, BuildBaseError::Configure { .. }), "{error}");
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
            packages_install(&fetcher, root, lock);
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
