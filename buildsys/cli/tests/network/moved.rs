//! An origin that has moved on: what is locked builds again as long as anybody has the bytes.

use std::fs;
use std::process::Command;

use crate::place::{Built, Place};

const PROJECT: &str = r#"[project]
name = "p"
network = "record"

[image.app]
context = "context"
dockerfile = "context/Dockerfile"
"#;

/// Two steps, each with an index that changes and with files that do not.
const STEPS: &str = r"RUN base=http://origin.example.com/base && wget -qO /index $base/index && wget -qO /one $base/pool/one.deb && wget -qO /two $base/pool/two.deb
RUN base=http://origin.example.com/base && wget -qO /list $base/list && for name in $(cat /list); do wget -qO /$name $base/pool/$name.deb; done
";

fn place() -> Place {
    let place = Place::new();
    place.dockerfile(STEPS);
    fs::write(place.path("tbuild.toml"), PROJECT).expect("written");
    place
}

fn build(place: &mut Place, arguments: &[&str]) -> Built {
    let spec = format!("type=oci,dest={}", place.path("app.tar").display());
    place.run(&[arguments, &["image", "app", "-o", &spec]].concat())
}

/// The image as it was written.
fn image(place: &Place) -> Vec<u8> {
    fs::read(place.path("app.tar")).expect("read")
}

#[test]
fn what_is_locked_outlives_its_origin() {
    let mut place = place();
    fs::write(place.path("list"), "three\n").expect("written");
    let recorded = build(&mut place, &[]);
    assert_eq!(recorded.code, 0, "{}", recorded.said);
    let first = image(&place);
    let lock = place.lock();
    // New indexes, and of one file there is but a copy elsewhere.
    fs::write(place.path("changed"), "/base/index").expect("written");
    fs::write(place.path("list"), "four\n").expect("written");
    fs::write(place.path("gone"), "/base/pool/one.deb").expect("written");
    place.empty_store();
    place.asked();
    let again = build(&mut place, &["--frozen"]);
    assert_eq!(again.code, 0, "{}", again.said);
    assert_eq!(image(&place), first);
    assert_eq!(place.lock(), lock);
    let mut asked = place.asked();
    asked.sort();
    assert_eq!(
        asked,
        [
            "GET /base/pool/one.deb",
            "GET /base/pool/three.deb",
            "GET /base/pool/two.deb",
            "GET /second/pool/one.deb",
        ]
    );
    let checked = place.run(&["lock", "--check"]);
    assert_eq!(checked.code, 0, "{}", checked.said);

    // One that nobody has.
    fs::write(
        place.path("gone"),
        "/base/pool/two.deb /second/pool/two.deb",
    )
    .expect("written");
    let checked = place.run(&["lock", "--check"]);
    assert_eq!(checked.code, 4, "{}", checked.said);
    let told = "own/pool/two.deb of lockfiles' app (this store has it still)";
    assert!(checked.said.contains(told), "{}", checked.said);
    place.empty_store();
    let refused = build(&mut place, &[]);
    assert_eq!(refused.code, 4, "{}", refused.said);
    for part in [
        "the locked bytes of own/pool/two.deb are nowhere to be had",
        "`tbuild lock --update-missing image:app`",
    ] {
        assert!(refused.said.contains(part), "{part}: {}", refused.said);
    }
    assert_eq!(place.lock(), lock, "nothing is moved unasked");
}

#[test]
fn only_what_is_missing_is_moved() {
    let mut place = place();
    fs::write(place.path("list"), "three\n").expect("written");
    let recorded = build(&mut place, &[]);
    assert_eq!(recorded.code, 0, "{}", recorded.said);
    let before = place.lock();
    let update = ["lock", "--update-missing", "image:app"];
    let nothing = place.run(&update);
    assert!(
        nothing.said.contains("nothing is missing"),
        "{}",
        nothing.said
    );
    // All is new, and of what the second step asked for one file is gone.
    fs::write(place.path("list"), "four\n").expect("written");
    fs::write(place.path("changed"), "/base/index").expect("written");
    let gone = "/base/pool/three.deb /second/pool/three.deb";
    fs::write(place.path("gone"), gone).expect("written");
    place.empty_store();
    // The lock of an image that tbuild.toml does not have.
    fs::write(
        place.path("tbuild.toml"),
        PROJECT.replace("image.app", "image.other"),
    )
    .expect("written");
    let refused = place.run(&["lock", "--update-missing"]);
    assert_eq!(refused.code, 2, "{}", refused.said);
    fs::write(place.path("tbuild.toml"), PROJECT).expect("written");
    let updated = place.run(&["lock", "--update-missing"]);
    assert_eq!(updated.code, 0, "{}", updated.said);
    let after = place.lock();
    let paths = |lock: &str| -> Vec<String> {
        let requests = lock.split("[[request]]").skip(1);
        requests.map(str::to_owned).collect()
    };
    let (old, new) = (paths(&before), paths(&after));
    let moved: Vec<_> = new.iter().filter(|one| !old.contains(one)).collect();
    assert_eq!(moved.len(), 2, "{after}");
    assert!(moved[0].contains("\"list\"") && moved[1].contains("\"pool/four.deb\""));
    let built = build(&mut place, &["--frozen"]);
    assert_eq!(built.code, 0, "{}", built.said);
}

#[test]
fn a_pack_that_lies_is_refused() {
    let mut place = place();
    fs::write(place.path("list"), "three\n").expect("written");
    let recorded = build(&mut place, &[]);
    assert_eq!(recorded.code, 0, "{}", recorded.said);
    let pack = place.path("lockfiles/network-app.pack");
    let listed = Command::new("tar").arg("-tf").arg(&pack).output();
    let names = String::from_utf8(listed.expect("tar").stdout).expect("text");
    let other = place.path("other");
    fs::create_dir(&other).expect("made");
    for name in names.lines() {
        fs::write(other.join(name), "what nobody answered").expect("written");
    }
    let mut tar = Command::new("tar");
    tar.arg("--zstd")
        .arg("-cf")
        .arg(&pack)
        .arg("-C")
        .arg(&other);
    assert!(tar.args(names.lines()).status().expect("tar").success());
    place.empty_store();
    let refused = build(&mut place, &["--frozen"]);
    assert_eq!(refused.code, 4, "{}", refused.said);
    assert!(
        refused.said.contains("network-app.pack is damaged"),
        "{}",
        refused.said
    );
}
