//! Bases resolved from the archives that this machine's apt is configured with.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use common::{bookworm, fetcher, now, verifier};
use tbuild_fetch::{AptError, Quiet};
use tbuild_lock::BaseLock;

#[tokio::test(flavor = "multi_thread")]
async fn a_base_resolves_to_one_lock_that_names_no_host() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let lock = fetcher
        .resolve_base(&bookworm(&["ca-certificates"]), &verifier(), now(), &Quiet)
        .await
        .unwrap();
    let again = fetcher
        .resolve_base(&bookworm(&["ca-certificates"]), &verifier(), now(), &Quiet)
        .await
        .unwrap();
    assert_eq!(lock.to_text(), again.to_text());
    assert_eq!(
        BaseLock::parse("base.lock", &lock.to_text())
            .unwrap()
            .to_text(),
        lock.to_text()
    );
    assert!(
        lock.releases
            .iter()
            .any(|release| release.origin == "debian-security")
    );
    for url in fetcher.origins.urls("debian").unwrap() {
        assert!(
            !lock.to_text().contains(url.as_str()),
            "a lock names no host"
        );
    }

    let names: Vec<&str> = lock
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    for name in [
        "apt",
        "base-files",
        "ca-certificates",
        "dpkg",
        "openssl",
        "passwd",
        "usr-is-merged",
    ] {
        assert!(names.contains(&name), "{name} is missing");
    }
    assert!(!names.contains(&"usrmerge"), "/usr is merged without it");
    let bootstrap = |name: &str| {
        lock.packages
            .iter()
            .find(|package| package.name == name)
            .unwrap()
            .bootstrap
    };
    assert!(bootstrap("apt") && bootstrap("usr-is-merged") && !bootstrap("openssl"));
}

#[tokio::test(flavor = "multi_thread")]
async fn backports_are_taken_only_where_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let mut spec = bookworm(&["curl"]);
    let without = fetcher
        .resolve_base(&spec, &verifier(), now(), &Quiet)
        .await
        .unwrap();
    spec.extra_suites.push("bookworm-backports".into());
    let with = fetcher
        .resolve_base(&spec, &verifier(), now(), &Quiet)
        .await
        .unwrap();
    assert_eq!(with.packages, without.packages);
    assert_eq!(with.releases.len(), without.releases.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_by_other_keys_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let mut verifier = verifier();
    verifier.keyring = "/usr/share/keyrings/debian-archive-removed-keys.gpg".into();
    let error = fetcher
        .resolve_base(&bookworm(&[]), &verifier, now(), &Quiet)
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, AptError::Signature { .. }), "{text}");
    assert!(text.contains("gpgv: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let fetcher = fetcher(folder.path());
    let error = fetcher
        .resolve_base(&bookworm(&["no-such-package"]), &verifier(), now(), &Quiet)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no-such-package"), "{error}");

    let mut spec = bookworm(&[]);
    spec.components = vec!["nonsense".into()];
    let error = fetcher
        .resolve_base(&spec, &verifier(), now(), &Quiet)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");

    let mut spec = bookworm(&[]);
    spec.distribution = "nowhere".into();
    let error = fetcher
        .resolve_base(&spec, &verifier(), now(), &Quiet)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("origins.toml"), "{error}");

    let mut missing = verifier();
    missing.gpgv = "gpgv-is-not-here".into();
    let error = fetcher
        .resolve_base(&bookworm(&[]), &missing, now(), &Quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, AptError::Gpgv { .. }), "{error}");

    // A release of security updates is valid for a week only.
    let mut spec = bookworm(&[]);
    spec.suite = "bookworm-security".into();
    spec.extra_suites.clear();
    let error = fetcher
        .resolve_base(&spec, &verifier(), now() + 400 * 86_400, &Quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, AptError::Expired { .. }), "{error}");
}
