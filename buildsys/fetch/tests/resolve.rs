//! Bases resolved from the archives that this machine's apt is configured with.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use common::{bookworm, fetcher, now, verifier};
use tbuild_fetch::{AptError, Quiet};
use tbuild_lock::BaseLock;

#[tokio::test(flavor = "multi_thread")]
async fn bookworm_resolves_to_what_mmdebstrap_chooses() {
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

    // The same suites, in mmdebstrap's simulation.
    let sources = |origin: &str, suites: &str| {
        let url = fetcher.origins.urls(origin).unwrap()[0].clone();
        suites
            .split(' ')
            .map(|suite| format!("deb {url} {suite} main"))
            .collect::<Vec<_>>()
    };
    let mut arguments = vec![
        "--simulate".into(),
        "--variant=minbase".into(),
        "--mode=root".into(),
    ];
    arguments.push("--include=ca-certificates".into());
    // It has /usr merged by a program; tbuild merges it itself.
    let pin = "Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n";
    arguments.push(format!(
        "--setup-hook=printf '{pin}' > \"$1/etc/apt/preferences.d/no-usrmerge\""
    ));
    arguments.extend(["bookworm".into(), "/dev/null".into()]);
    arguments.extend(sources("debian", "bookworm bookworm-updates"));
    arguments.extend(sources("debian-security", "bookworm-security"));
    let output = Command::new("mmdebstrap")
        .args(&arguments)
        .arg("--verbose")
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let theirs: BTreeSet<String> = log
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Inst "))
        .filter_map(|line| {
            let (name, rest) = line.split_once(" (")?;
            Some(format!("{name} {}", rest.split(' ').next()?))
        })
        .collect();
    let ours: BTreeSet<String> = lock
        .packages
        .iter()
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    assert_eq!(ours, theirs, "mmdebstrap said:\n{log}");
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
