//! Steps that are locked and that no image has any more.

use std::fs;

use tbuild_digest::Sha256;

use crate::place::{Built, Place};

const PROJECT: &str = r#"[project]
name = "p"
network = "record"

[image.app]
context = "context"
dockerfile = "context/Dockerfile"
target = "last"
lock = "app"

[image.other]
context = "context"
dockerfile = "context/Dockerfile"
target = "first"
lock = "app"

[profile.extra.image.app]
args = { WHICH = "extra" }
"#;

fn lines(file: &str) -> String {
    let get = |path: &str| format!("RUN wget -qO /got http://origin.example.com/base/{path}");
    let start = "FROM scratch AS first\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";
    let last = format!(
        "FROM first AS last\nARG WHICH=usual\n{}\n{}",
        get("$WHICH"),
        get(file)
    );
    format!("{start}{}\n{last}\n", get("first"))
}

fn run(place: &mut Place, arguments: &[&str], parts: &[&str]) -> Built {
    let run = place.run(arguments);
    assert_eq!(run.code, 0, "{}", run.said);
    for part in parts {
        assert!(run.said.contains(part), "{part}: {}", run.said);
    }
    run
}

/// The paths of the lock.
fn paths(place: &Place) -> Vec<String> {
    let lock = place.lock();
    let paths = lock.lines().filter_map(|line| line.strip_prefix("path = "));
    paths
        .map(|path| path.trim_matches('"').to_owned())
        .collect()
}

#[test]
fn only_what_no_image_has_is_taken_out() {
    let mut place = Place::new();
    place.write("Dockerfile", &lines("old"));
    fs::write(place.path("tbuild.toml"), PROJECT).expect("written");
    run(&mut place, &["image", "app"], &[]);
    run(&mut place, &["--profile", "extra", "image", "app"], &[]);
    assert_eq!(paths(&place), ["extra", "first", "old", "usual"]);
    // What another machine has locked for its own platform.
    let text = "RUN wget -qO /got http://origin.example.com/base/first";
    let id = |platform: &str| {
        Sha256::of(format!("first {platform} \n0\n{text}").as_bytes()).hex()[..12].to_owned()
    };
    let (own, other) = (id("linux/amd64"), id("linux/arm64"));
    assert!(place.lock().contains(&own), "{}", place.lock());
    let foreign = place.lock().replace(&own, &other);
    fs::write(place.path("lockfiles/network-app.lock"), foreign).expect("written");
    let locked = run(&mut place, &["lock", "image:app"], &[]);
    assert!(!locked.said.contains("taken out"), "{}", locked.said);
    assert!(place.lock().contains(&own) && place.lock().contains(&other));

    place.write("Dockerfile", &lines("new"));
    let stale = "RUN wget -qO /got http://origin.example.com/base/old of lockfiles' app: no image has this step any more";
    run(
        &mut place,
        &["lock", "--check"],
        &[&format!("stale: {stale}")],
    );
    // The other image's lock is the same one.
    run(
        &mut place,
        &["lock", "image:other"],
        &[&format!("taken out: {stale}")],
    );
    assert_eq!(paths(&place), ["extra", "first", "usual"]);
    run(&mut place, &["lock", "image:app"], &["1 name is locked"]);
    assert_eq!(paths(&place), ["extra", "first", "new", "usual"]);
    assert!(place.lock().contains(&other), "{}", place.lock());
    let checked = run(&mut place, &["lock", "--check"], &[]);
    assert!(!checked.said.contains("stale"), "{}", checked.said);
    place.stop();
    run(&mut place, &["--offline", "image", "app"], &[]);
    run(
        &mut place,
        &["--offline", "--profile", "extra", "image", "app"],
        &[],
    );
}

/// Where the steps of an image cannot be told, nothing is taken out.
#[test]
fn nothing_is_taken_out_in_doubt() {
    let mut place = Place::new();
    place.write("Dockerfile", &lines("old"));
    let broken = "\n[image.broken]\ncontext = \"context\"\ndockerfile = \"context/Broken\"\nlock = \"app\"\n";
    fs::write(place.path("tbuild.toml"), format!("{PROJECT}{broken}")).expect("written");
    place.write("Broken", "FROM scratch\nRUN --mount=type=none x\n");
    run(&mut place, &["image", "app"], &[]);
    place.write("Dockerfile", &lines("new"));
    let lock = place.run(&["lock", "image:app"]);
    assert_eq!(lock.code, 0, "{}", lock.said);
    let told = "lockfiles' app may have steps that no image has any more: image:broken";
    assert!(lock.said.contains(told), "{}", lock.said);
    assert_eq!(paths(&place), ["first", "new", "old", "usual"]);
}
