#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tbuild_store::Store;
use tbuild_store_local::LocalStore;

use super::*;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args([
            "-c",
            "user.name=n",
            "-c",
            "user.email=e@example.com",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with two commits, a branch, tags, a link, a program, and text that filters could touch.
fn repository(folder: &Path) -> (String, String) {
    fs::create_dir_all(folder.join("sub")).unwrap();
    git(folder, &["init", "--quiet"]);
    fs::write(folder.join("a.txt"), "one\n").unwrap();
    fs::write(folder.join("sub/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("sub/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        folder.join(".gitattributes"),
        "*.lfs filter=lfs\n*.up filter=up\na.txt export-ignore\n",
    )
    .unwrap();
    fs::write(folder.join("x.lfs"), "pointer\n").unwrap();
    fs::write(folder.join("x.up"), "low\n").unwrap();
    std::os::unix::fs::symlink("a.txt", folder.join("link")).unwrap();
    git(folder, &["add", "-A"]);
    git(folder, &["commit", "--quiet", "-m", "first"]);
    let first = git(folder, &["rev-parse", "HEAD"]);
    git(folder, &["tag", "-a", "v1", "-m", "annotated"]);
    fs::write(folder.join("a.txt"), "two\n").unwrap();
    git(folder, &["commit", "--quiet", "-am", "second"]);
    git(folder, &["branch", "topic/x"]);
    (first, git(folder, &["rev-parse", "HEAD"]))
}

fn ours(home: &Path) -> Git {
    let mut env: BTreeMap<String, String> = std::env::vars().collect();
    env.insert("HOME".into(), home.to_str().unwrap().into());
    env.insert("GIT_DIR".into(), "/nowhere".into());
    Git::new("git", &env)
}

struct Fixture {
    folder: tempfile::TempDir,
    store: LocalStore,
    git: Git,
    url: String,
    first: String,
    second: String,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = repository(&folder.path().join("origin"));
    let store = LocalStore::open(&folder.path().join("store")).unwrap();
    let url = format!("file://{}/origin", folder.path().display());
    Fixture {
        git: ours(folder.path()),
        url,
        first,
        second,
        store,
        folder,
    }
}

#[test]
fn revisions_of_every_form() {
    let Fixture {
        store,
        git,
        url,
        first,
        second,
        ..
    } = &fixture();
    for (rev, commit) in [
        ("main", second),
        ("topic/x", second),
        ("v1", first),
        ("refs/tags/v1", first),
        ("HEAD", second),
        (first.as_str(), first),
        (&first[..9], first),
        (&second.to_ascii_uppercase(), second),
    ] {
        assert_eq!(git.resolve(url, rev, store).unwrap(), *commit, "{rev}");
    }
    for rev in [
        "no-such",
        "",
        "--upload-pack=x",
        "deadbeef",
        &"1".repeat(40),
        "main~1",
    ] {
        assert!(
            matches!(
                git.resolve(url, rev, store),
                Err(GitError::NoRevision { .. })
            ),
            "{rev}"
        );
    }
}

#[test]
fn the_files_depend_on_the_commit_alone() {
    let Fixture {
        folder,
        store,
        git,
        url,
        first,
        ..
    } = &fixture();
    // What a user's configuration could do to a checkout.
    let settings = "[core]\nautocrlf = true\n[filter \"up\"]\nsmudge = tr a-z A-Z\nrequired = true\n[filter \"lfs\"]\nsmudge = false\nrequired = true\n";
    fs::write(folder.path().join(".gitconfig"), settings).unwrap();
    let checkout = git.fetch(url, "v1", store).unwrap();
    assert_eq!(checkout.commit, *first);
    let read = |path: &str| fs::read_to_string(checkout.folder().join(path)).unwrap();
    assert_eq!(read("a.txt"), "one\n");
    assert_eq!(read("x.lfs"), "pointer\n");
    assert_eq!(read("x.up"), "low\n");
    assert_eq!(
        fs::read_link(checkout.folder().join("link")).unwrap(),
        Path::new("a.txt")
    );
    let mode = |path: &str| {
        fs::metadata(checkout.folder().join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        (mode("sub/run"), mode("a.txt"), mode("sub"), mode("")),
        (0o755, 0o644, 0o755, 0o755)
    );
    assert!(!checkout.folder().join(".git").exists());
    let path = checkout.folder().to_owned();
    drop(checkout);
    assert!(!path.exists());
}

#[test]
fn a_commit_fetched_before_needs_no_connection() {
    let Fixture {
        folder,
        store,
        git,
        url,
        second,
        ..
    } = &fixture();
    git.fetch(url, "main", store).unwrap();
    fs::rename(folder.path().join("origin"), folder.path().join("gone")).unwrap();
    assert_eq!(git.fetch(url, second, store).unwrap().commit, *second);
    let error = git.fetch(url, "main", store).unwrap_err();
    assert!(
        matches!(&error, GitError::Fetch { words, .. } if !words.is_empty()),
        "{error}"
    );
}

#[test]
fn what_a_killed_git_leaves_is_no_obstacle() {
    let Fixture {
        store,
        git,
        url,
        first,
        second,
        ..
    } = &fixture();
    git.resolve(url, first, store).unwrap();
    let scratch = store.scratch("git").unwrap();
    let repository = fs::read_dir(scratch)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.join("HEAD").exists())
        .unwrap();
    for name in ["shallow.lock", "packed-refs.lock", "config.lock"] {
        fs::write(repository.join(name), "").unwrap();
    }
    assert_eq!(git.resolve(url, second, store).unwrap(), *second);
    // Killed while the repository was being made.
    fs::remove_file(repository.join("tbuild-ready")).unwrap();
    fs::remove_dir_all(repository.join("objects")).unwrap();
    fs::remove_file(repository.join("shallow")).unwrap();
    assert_eq!(git.fetch(url, second, store).unwrap().commit, *second);
}

#[test]
fn submodules_come_along() {
    let Fixture {
        folder,
        store,
        git: ours,
        url,
        second,
        ..
    } = &fixture();
    let outer = folder.path().join("outer");
    fs::create_dir(&outer).unwrap();
    git(&outer, &["init", "--quiet"]);
    git(
        &outer,
        &["submodule", "--quiet", "add", "../origin", "deps/inner"],
    );
    git(&outer, &["commit", "--quiet", "-m", "with a submodule"]);
    // The relative URL is resolved against the repository's own, as git does it.
    let outer_url = url.replace("/origin", "/outer");
    let checkout = ours.fetch(&outer_url, "main", store).unwrap();
    assert_eq!(
        fs::read_to_string(checkout.folder().join("deps/inner/a.txt")).unwrap(),
        "two\n"
    );
    assert_eq!(
        git(&folder.path().join("origin"), &["rev-parse", "main"]),
        *second
    );

    fs::write(outer.join(".gitmodules"), "").unwrap();
    git(&outer, &["commit", "--quiet", "-am", "forgotten"]);
    assert!(matches!(
        ours.fetch(&outer_url, "main", store),
        Err(GitError::Submodule { .. })
    ));
}

#[test]
fn a_missing_git_is_said() {
    let Fixture { store, url, .. } = &fixture();
    let git = Git::new("git-is-not-here", &BTreeMap::new());
    assert!(matches!(
        git.resolve(url, "main", store),
        Err(GitError::Missing { .. })
    ));
    let _: &dyn Store = store;
}
