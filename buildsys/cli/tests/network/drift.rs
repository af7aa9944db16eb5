//! `tbuild lock --check`: what cannot be had as it was locked, and what soon cannot.

use std::fs;

use crate::place::{Built, Place};

const PROJECT: &str = r#"[project]
name = "p"
network = "record"

[image.app]
context = "context"
dockerfile = "context/Dockerfile"
"#;

/// A place where an image is recorded whose one step asks for these paths.
fn recorded(paths: &[&str], files: &[(&str, Vec<u8>)]) -> Place {
    let mut place = Place::new();
    for (name, content) in files {
        serve(&place, name, content);
    }
    let get = |path: &&str| format!("wget -qO /got http://origin.example.com/base/{path}");
    let lines: Vec<String> = paths.iter().map(get).collect();
    place.dockerfile(&format!("RUN {}", lines.join(" && ")));
    fs::write(place.path("tbuild.toml"), PROJECT).expect("written");
    let built = place.run(&["image", "app"]);
    assert_eq!(built.code, 0, "{}", built.said);
    place
}

fn serve(place: &Place, name: &str, content: &[u8]) {
    let file = place.path("www/base").join(name);
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(file, content).expect("written");
}

/// Writes another day into the lock, that of all its steps.
fn dated(place: &Place, day: &str) {
    let lock = place.lock();
    let (before, rest) = lock.split_once("when = \"").expect("a day");
    let text = format!("{before}when = \"{day}{}", &rest[10..]);
    fs::write(place.path("lockfiles/network-app.lock"), text).expect("written");
}

fn check(place: &mut Place, arguments: &[&str], code: i32, parts: &[&str]) -> Built {
    let checked = place.run(&[&["lock", "--check"], arguments].concat());
    assert_eq!(checked.code, code, "{}", checked.said);
    for part in parts {
        assert!(checked.said.contains(part), "{part}: {}", checked.said);
    }
    checked
}

/// What is too large for the pack is there, changed or gone.
#[test]
fn an_answer_that_is_not_kept_is_looked_for() {
    let large = vec![b'x'; 6 << 20];
    let mut place = recorded(&["large"], &[("large", large.clone())]);
    check(&mut place, &[], 0, &["all that is locked is to be had"]);
    check(
        &mut place,
        &["--age", "9"],
        4,
        &["unkept: own/large of lockfiles' app"],
    );
    // Of the same size.
    serve(&place, "large", &vec![b'y'; 6 << 20]);
    let told = "changed: own/large of lockfiles' app (this store has it still): its origin has another by now";
    check(&mut place, &[], 4, &[told, "--update-missing"]);
    fs::write(place.path("gone"), "/base/large /second/large").expect("written");
    let json = check(&mut place, &["--json"], 4, &[]);
    for part in [
        "\"wrong\":\"gone\"",
        "\"request\":\"own/large\"",
        "\"stored\":true",
    ] {
        assert!(json.id.contains(part), "{part}: {}", json.id);
    }
    // A second origin has what was locked.
    fs::write(place.path("gone"), "/base/large").expect("written");
    serve(&place, "large", &large);
    check(&mut place, &[], 0, &[]);
    serve(&place, "large", b"other");
    let before = place.lock();
    let updated = place.run(&["lock", "--update-missing"]);
    // The step does not know of the second origin.
    assert_eq!(updated.code, 1, "{}", updated.said);
    assert_eq!(place.lock(), before);
    fs::write(place.path("gone"), "").expect("written");
    let updated = place.run(&["lock", "--update-missing"]);
    assert_eq!(updated.code, 0, "{}", updated.said);
    assert!(place.lock().contains("size = 5\n"), "{}", place.lock());
    check(&mut place, &["--age", "9"], 0, &[]);
}

/// Files at a second origin alone, and answers that were recorded long ago and are others by now.
#[test]
fn what_soon_cannot_be_had_is_told() {
    let mut place = recorded(&["index", "pool/one.deb"], &[]);
    check(&mut place, &["--age", "30"], 0, &[]);
    fs::write(place.path("gone"), "/base/pool/one.deb").expect("written");
    check(&mut place, &[], 0, &[]);
    let second = "second: own/pool/one.deb of lockfiles' app: only a second origin has it";
    check(&mut place, &["--age", "30"], 4, &[second]);
    fs::write(place.path("gone"), "").expect("written");
    dated(&place, "2001-02-03");
    // Old, and still what its origin answers.
    check(&mut place, &["--age", "30"], 0, &[]);
    fs::write(place.path("changed"), "/base/index").expect("written");
    check(&mut place, &[], 0, &[]);
    let old =
        "old: own/index of lockfiles' app: locked on 2001-02-03, and its origin has another by now";
    check(&mut place, &["--age", "30"], 4, &[old, "--update NODE"]);
    check(&mut place, &["--age", "36500"], 0, &[]);
    // Of a tbuild that wrote no days.
    let lock = place.lock().replace("when = \"2001-02-03\"\n", "");
    fs::write(place.path("lockfiles/network-app.lock"), lock).expect("written");
    let told = "lockfiles' app does not say of what day its steps are";
    check(&mut place, &["--age", "30"], 0, &[told]);
}

/// A signed release that was not cut down: apt refuses it once it has run out.
#[test]
fn releases_that_run_out_are_told() {
    let release = |date: &str| {
        let text = format!("Suite: x\nValid-Until: {date}\n");
        format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}-----BEGIN PGP SIGNATURE-----\n").into_bytes()
    };
    let late = release("Fri, 31 Dec 9999 23:59:59 UTC");
    let over = release("Sat, 03 Feb 2001 04:05:06 UTC");
    let (one, two) = ("dists/one/InRelease", "dists/two/InRelease");
    let mut place = recorded(&[one, two], &[(one, late), (two, over)]);
    let told =
        "expires: own/dists/two/InRelease of lockfiles' app: programs refuse it from 2001-02-03 on";
    let checked = check(&mut place, &[], 4, &[told]);
    assert!(!checked.said.contains("one/InRelease"), "{}", checked.said);
    let checked = check(&mut place, &["--age", "3000000"], 4, &[told]);
    let told = "programs refuse it from 9999-12-31 on";
    assert!(checked.said.contains(told), "{}", checked.said);
}
