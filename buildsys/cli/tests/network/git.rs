//! git over HTTPS from its own server: what it asks by its protocol, version 2, is POSTs.

use std::fs;
use std::process::Command;

use crate::place::Place;

/// Runs git in the place's folder, as nobody of this machine.
pub fn git(place: &Place, arguments: &[&str]) {
    let output = Command::new("git")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", place.path(""))
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args(["-c", "init.defaultBranch=main"])
        .arg("-C")
        .arg(place.path(""))
        .args(arguments)
        .output()
        .expect("git starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
}

/// A repository with a commit whose file has this content, and what a server needs to show it.
pub fn commit(place: &Place, name: &str, content: &str) {
    let folder = format!("git/{name}");
    git(place, &["init", "--quiet", &folder]);
    fs::write(place.path(&folder).join("file"), format!("{content}\n")).expect("written");
    git(place, &["-C", &folder, "add", "file"]);
    git(place, &["-C", &folder, "commit", "--quiet", "-m", content]);
}

#[test]
fn clones_replay() {
    let mut place = Place::new();
    commit(&place, "whole", "content of a tag");
    git(&place, &["-C", "git/whole", "tag", "v1"]);
    commit(&place, "whole", "content after it");
    commit(&place, "part", "content of another");
    commit(&place, "nested", "content of a module");
    git(
        &place,
        &[
            "-C",
            "git/part",
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            "../nested",
            "module",
        ],
    );
    git(
        &place,
        &[
            "-C",
            "git/part",
            "config",
            "--file",
            ".gitmodules",
            "submodule.module.url",
            "../../nested/.git",
        ],
    );
    git(&place, &["-C", "git/part", "add", ".gitmodules"]);
    git(
        &place,
        &["-C", "git/part", "commit", "--quiet", "-m", "a module"],
    );
    place.install("/usr/bin/git");
    place.install("/usr/lib/git-core/git-remote-https");
    for script in ["git-submodule", "git-sh-setup", "git-sh-i18n"] {
        place.install(&format!("/usr/lib/git-core/{script}"));
    }
    // What git keeps beside the files has times and inode numbers.
    let script = "site=https://origin.example.com/git\n\
                  git clone --separate-git-dir=/git/whole $site/whole/.git /whole\n\
                  git -C /whole checkout -q v1 && cat /whole/file && git -C /whole describe --tags\n\
                  git clone --depth 1 --separate-git-dir=/git/part $site/part/.git /part\n\
                  cat /part/file\nGIT_TERMINAL_PROMPT=0 git -C /part submodule update --init --depth 1 && cat /part/module/file\n\
                  rm /whole/.git /part/.git /part/module/.git";
    place.write("fetch", script);
    place.dockerfile(
        "COPY root /\nCOPY fetch /fetch\nRUN --mount=type=tmpfs,target=/git sh -e /fetch",
    );
    let recorded = place.builds(&[]);
    for part in [
        "content of a tag",
        "content of another",
        "content of a module",
        "| v1\n",
    ] {
        assert!(recorded.said.contains(part), "{part}: {}", recorded.said);
    }
    let lock = place.lock();
    for part in [
        "path = \"git/whole/.git/info/refs?service=git-upload-pack\"",
        "path = \"git/nested/.git/info/refs?service=git-upload-pack\"",
        "path = \"git/whole/.git/git-upload-pack\"\nmethod = \"POST\"\nbody = ",
    ] {
        assert!(lock.contains(part), "{part}: {lock}");
    }

    place.stop();
    let replayed = place.builds(&["--offline", "--no-cache"]);
    assert_eq!(replayed.id, recorded.id, "{}", replayed.said);
    assert!(!replayed.said.contains("not recorded"), "{}", replayed.said);
    assert_eq!(place.lock(), lock);
}
