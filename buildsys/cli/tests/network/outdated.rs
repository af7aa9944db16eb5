//! `tbuild outdated`: what is newer than what is locked.

use std::fs;

use crate::git::{commit, git};
use crate::place::{Built, Place};

const PROJECT: &str = r#"[project]
name = "p"
network = "record"

[source.code]
git = "http://origin.example.com/git/code/.git"
rev = "main"

[image.app]
context = "context"
dockerfile = "context/Dockerfile"
"#;

/// What registries say, by their paths.
const REGISTRIES: [(&str, &str); 7] = [
    ("packages/six-1.15.0-py2.py3-none-any.whl", "wheel"),
    (
        "simple/six",
        r#"{"files":[{"filename":"six-1.16.0-py2.py3-none-any.whl"},{"filename":"six-2.0rc1.tar.gz"}]}"#,
    ),
    ("base/left-pad", r#"{"dist-tags":{"latest":"1.3.0"}}"#),
    ("base/@a/b", r#"{"dist-tags":{"latest":"2.0.0"}}"#),
    ("base/example.com/!m/@latest", r#"{"Version":"v1.10.0"}"#),
    (
        "crates/se/rd/serde",
        "{\"vers\":\"1.0.2\",\"yanked\":false}\n{\"vers\":\"1.0.10\",\"yanked\":true}\n",
    ),
    (
        "base/junit/junit/maven-metadata.xml",
        "<release>4.13.2</release>",
    ),
];

const FILES: [&str; 7] = [
    "left-pad/-/left-pad-1.2.0.tgz",
    "left-pad/-/left-pad-1.1.0.tgz",
    "@a/b/-/b-2.0.0.tgz",
    "example.com/!m/@v/v1.9.0.zip",
    "api/v1/crates/serde/1.0.1/download",
    "junit/junit/4.13/junit-4.13.jar",
    "lost/-/lost-1.0.0.tgz",
];

fn run(place: &mut Place, arguments: &[&str], code: i32) -> Built {
    let run = place.run(arguments);
    assert_eq!(run.code, code, "{}", run.said);
    run
}

#[test]
fn what_is_newer_is_told() {
    let mut place = Place::new();
    for (path, content) in REGISTRIES {
        let file = place.path("www").join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, content).expect("written");
    }
    let origins = "[origin.pypi]\nurls = [\"http://origin.example.com/simple\"]\n[origin.crates]\nurls = [\"http://origin.example.com/crates\"]\n";
    let file = place.path("config/tbuild/origins.toml");
    let own = fs::read_to_string(&file).expect("read");
    fs::write(&file, own + origins).expect("written");
    commit(&place, "code", "one");
    let site = "http://origin.example.com";
    let mut script =
        format!("wget -U pip/23.0 -qO /got {site}/packages/six-1.15.0-py2.py3-none-any.whl\n");
    for path in FILES {
        script.extend(["wget -qO /got ", site, "/base/", path, "\n"]);
    }
    place.write("fetch", &script);
    place.dockerfile("COPY fetch /fetch\nRUN sh -e /fetch");
    fs::write(place.path("tbuild.toml"), PROJECT).expect("written");
    run(&mut place, &["image", "app"], 0);
    run(&mut place, &["lock", "source:code"], 0);
    let lock = place.lock();
    let git_lock = fs::read_to_string(place.path("lockfiles/git-code.lock")).expect("locked");
    fs::write(place.path("gone"), "/base/lost").expect("written");
    place.asked();

    let told = run(&mut place, &["outdated"], 0);
    let lines: Vec<&str> = told.id.lines().collect();
    let expected = [
        "lockfiles/network-app.lock",
        "  cargo  serde 1.0.1 -> 1.0.2",
        "  go     example.com/M v1.9.0 -> v1.10.0",
        "  maven  junit:junit 4.13 -> 4.13.2",
        "  npm    left-pad 1.2.0 -> 1.3.0",
        "  pip    six 1.15.0 -> 1.16.0",
    ];
    assert_eq!(lines, expected, "{}", told.said);
    let lost = "not looked up: lost of npm: nothing here serves own/lost";
    assert!(told.said.contains(lost), "{}", told.said);
    assert!(
        place.asked().iter().all(|line| !line.contains("/-/")),
        "only pages are asked for"
    );

    commit(&place, "code", "two");
    let git_told = run(
        &mut place,
        &["outdated", "--exit-code", "--json", "source:code"],
        4,
    );
    for part in ["\"manager\":\"git\"", "\"name\":\"code main\""] {
        assert!(git_told.id.contains(part), "{part}: {}", git_told.id);
    }
    // A tag that is an object is told as what it is a tag of.
    let project = PROJECT.replace("\"main\"", "\"v1\"");
    fs::write(place.path("tbuild.toml"), project).expect("written");
    git(&place, &["-C", "git/code", "tag", "-a", "-m", "one", "v1"]);
    let unchanged = run(&mut place, &["outdated", "--exit-code", "source:code"], 0);
    assert!(
        unchanged.said.contains("nothing is newer"),
        "{}",
        unchanged.said
    );
    run(&mut place, &["lock", "source:code"], 0);
    run(&mut place, &["outdated", "--exit-code", "source:code"], 0);

    fs::write(place.path("tbuild.toml"), PROJECT).expect("written");
    assert_eq!(place.lock(), lock, "nothing is written");
    assert!(git_lock.contains("when = \""), "{git_lock}");
    run(&mut place, &["--offline", "outdated"], 2);
    run(&mut place, &["outdated", "nothing"], 2);
}
