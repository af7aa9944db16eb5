//! A small archive made and signed by the test, served on loopback: what the real ones do not do every day.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::server::serve;
use tbuild_digest::BlobDigest;
use tbuild_fetch::{
    AptError, BaseSpec, Fetcher, Git, Http, HttpError, HttpOptions, Origins, Quiet, Verifier,
};
use tbuild_lock::BaseLock;
use tbuild_store_local::LocalStore;

/// Runs a script in `folder`, with gpg's keys there.
fn shell(folder: &Path, script: &str) {
    let output = Command::new("sh")
        .args(["-ec", script])
        .current_dir(folder)
        .env("GNUPGHOME", folder.join("gnupg"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

const KEY: &str = "mkdir -m 700 gnupg; gpg --batch --quiet --passphrase '' --faked-system-time 20200101T000000 --quick-generate-key 'Test <test@example.com>' rsa2048 sign never; gpg --batch --export > key.gpg; gpg --batch --armor --export > key.asc";
const PACKAGE: &str = "mkdir -p p/DEBIAN archive/pool archive/dists/s/main/binary-amd64; printf 'Package: apt\\nVersion: 1\\nArchitecture: amd64\\nEssential: yes\\nMaintainer: x <x@example.com>\\nDescription: x\\n' > p/DEBIAN/control; dpkg-deb --root-owner-group -b p archive/pool/apt_1_amd64.deb > log; cd archive; { dpkg-deb -f pool/apt_1_amd64.deb; echo Filename: pool/apt_1_amd64.deb; stat -c 'Size: %s' pool/apt_1_amd64.deb; echo SHA256: $(sha256sum < pool/apt_1_amd64.deb | cut -d' ' -f1); } | gzip -n > dists/s/main/binary-amd64/Packages.gz";
const SIGN: &str = "cd archive/dists/s; { printf 'Codename: s\\nSuite: s\\nDate: Sat, 11 Jul 2026 10:16:37 UTC\\nSHA256:\\n'; for f in main/binary-amd64/Packages.gz; do echo \" $(sha256sum < $f | cut -d' ' -f1) $(stat -c %s $f) $f\"; done; } > Release; rm -f InRelease; gpg --batch --quiet --passphrase '' $OPTIONS --clearsign -o InRelease Release";

struct Archive {
    folder: tempfile::TempDir,
    fetcher: Fetcher,
    verifier: Verifier,
}

impl Archive {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        shell(folder.path(), KEY);
        shell(folder.path(), PACKAGE);
        shell(folder.path(), SIGN);
        let mut origins = Origins::default();
        origins.set("debian", vec![serve(&folder.path().join("archive")).await]);
        let store = Arc::new(LocalStore::open(&folder.path().join("store")).unwrap());
        let http = Http::new(&HttpOptions {
            retries: 0,
            ..HttpOptions::default()
        })
        .unwrap();
        let verifier = Verifier {
            gpgv: PathBuf::from("gpgv"),
            keyring: folder.path().join("key.gpg"),
        };
        Self {
            fetcher: Fetcher {
                http,
                origins,
                store,
            },
            verifier,
            folder,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("archive").join(path)
    }

    async fn resolve(&self) -> Result<BaseLock, AptError> {
        let spec = BaseSpec {
            suite: "s".into(),
            extra_suites: vec![],
            ..common::bookworm(&[])
        };
        self.fetcher
            .resolve_base(&spec, &self.verifier, 0, &Quiet)
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_of_ones_own() {
    let mut archive = Archive::new().await;
    let lock = archive.resolve().await.unwrap();
    assert_eq!(lock.packages.len(), 1);
    assert_eq!(lock.packages[0].path.as_str(), "pool/apt_1_amd64.deb");
    let release = fs::read(archive.path("dists/s/InRelease")).unwrap();
    assert_eq!(lock.releases[0].sha256, BlobDigest::of(&release));
    archive.verifier.keyring = archive.folder.path().join("key.asc");
    assert_eq!(
        archive.resolve().await.unwrap(),
        lock,
        "an armoured keyring does as well"
    );
    archive.fetcher.fetch_base(&lock, &Quiet).await.unwrap();

    // Everything is here now: no origin is needed, let alone a connection.
    let mut offline = archive.fetcher.clone();
    offline.origins = Origins::default();
    offline.fetch_base(&lock, &Quiet).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_releases_and_indexes_are_refused() {
    let archive = Archive::new().await;
    let release = archive.path("dists/s/InRelease");
    let good = fs::read_to_string(&release).unwrap();

    fs::write(&release, good.replace("Codename: s", "Codename: t")).unwrap();
    let error = archive.resolve().await.unwrap_err();
    assert!(
        matches!(&error, AptError::Signature { words, .. } if words.contains("BAD signature")),
        "{error}"
    );

    fs::write(&release, "Codename: s\nSuite: s\n").unwrap();
    assert!(
        matches!(
            archive.resolve().await.unwrap_err(),
            AptError::Signature { .. }
        ),
        "no signature at all"
    );

    fs::write(&release, &good).unwrap();
    let index = archive.path("dists/s/main/binary-amd64/Packages.gz");
    let bytes = fs::read(&index).unwrap();
    let mut forged = bytes.clone();
    forged[bytes.len() / 2] ^= 1;
    fs::write(&index, forged).unwrap();
    let error = archive.resolve().await.unwrap_err();
    assert!(
        matches!(
            error,
            AptError::Http {
                source: HttpError::Digest { .. },
                ..
            }
        ),
        "{error}"
    );

    fs::write(&index, bytes).unwrap();
    // Text outside what is signed says nothing.
    fs::write(&release, format!("Suite: t\n\n{good}")).unwrap();
    let outcome = archive.resolve().await;
    assert!(
        outcome
            .as_ref()
            .map_or(true, |lock| lock.packages.len() == 1),
        "{outcome:?}"
    );

    fs::write(&release, &good).unwrap();
    let lock = archive.resolve().await.unwrap();
    let package = archive.path("pool/apt_1_amd64.deb");
    let mut forged = fs::read(&package).unwrap();
    forged[100] ^= 1;
    fs::write(&package, forged).unwrap();
    let error = archive.fetcher.fetch_base(&lock, &Quiet).await.unwrap_err();
    assert!(
        matches!(
            error,
            AptError::Http {
                source: HttpError::Digest { .. },
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_digests_and_expired_signatures_are_refused() {
    let archive = Archive::new().await;
    for (options, why) in [
        ("--digest-algo SHA1", "digest"),
        (
            "--faked-system-time 20200201T000000 --default-sig-expire 1d",
            "signature has expired",
        ),
    ] {
        shell(
            archive.folder.path(),
            &format!("OPTIONS='{options}'; {SIGN}"),
        );
        let error = archive.resolve().await.unwrap_err();
        assert!(
            matches!(&error, AptError::Signature { why: said, .. } if said.contains(why)),
            "{options}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn git_over_http_that_gives_no_commits_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let script = "git init -q -b main r; cd r; echo one > a; git add a; git -c user.name=n -c user.email=e@example.com commit -q -m one; git clone -q --bare . ../served/r.git; cd ../served/r.git; git update-server-info; git rev-parse HEAD > ../../commit";
    shell(folder.path(), script);
    let commit = fs::read_to_string(folder.path().join("commit"))
        .unwrap()
        .trim()
        .to_owned();
    let url = format!("{}/r.git", serve(&folder.path().join("served")).await);
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    let fetched = tokio::task::spawn_blocking(move || {
        let git = Git::new("git", &std::env::vars().collect());
        let checkout = git.fetch(&url, &commit, &store).unwrap();
        (
            checkout.commit == commit,
            fs::read_to_string(checkout.folder().join("a")).unwrap(),
        )
    });
    assert_eq!(fetched.await.unwrap(), (true, "one\n".to_owned()));
}
