//! RUN with a recorded network: recorded from an origin, replayed without any network. Runs as root.

#![allow(
    clippy::disallowed_methods,
    reason = "tests drive programs and read what they leave"
)]

mod bases;
mod clients;
mod drift;
mod git;
mod hostile;
mod moved;
mod outdated;
mod place;
mod ports;
mod reduced;
mod stale;

use place::Place;

const FETCH: &str = "RUN sh -e /fetch";

/// Names, an address, redirections, queries, POST, TLS; nothing says to the step that its network is no other's.
#[test]
fn what_is_recorded_builds_without_any_network() {
    let mut place = Place::new();
    let script = "site=http://origin.example.com/base\nwget -qO /moved $site/moved\nwget -qO /query \"$site/x?a=1&token=secret-of-mine\"\n\
                  wget -qO /posted --post-data sent $site/post\ncurl -sSfo /tls https://origin.example.com/base/tls\n\
                  wget -qO /none $site/../none || echo none > /none\nwget -qO /again $site/moved\n\
                  wget -qO /number http://192.0.2.1/base/number";
    place.install("/usr/bin/curl").write("fetch", script);
    place.dockerfile(&format!(
        "COPY root /\nCOPY fetch /fetch\n{FETCH}\nRUN cat /moved /query /posted /tls /none > /all; cat /all"
    ));
    let recorded = place.builds(&[]);
    for line in [
        "content of /base/file",
        "got sent",
        "content of /base/tls",
        "none",
    ] {
        assert!(recorded.said.contains(line), "{line}: {}", recorded.said);
    }
    let asked = place.asked();
    let once = asked
        .iter()
        .filter(|line| *line == "GET /base/moved")
        .count();
    assert_eq!(once, 1, "a question is asked once: {asked:?}");
    let lock = place.lock();
    for line in [
        "origin = \"own\"",
        "path = \"moved\"",
        "headers = [\"location: <own>/file?token\"]",
        "path = \"x?a=1&token\"",
        "method = \"POST\"",
        "origin = \"https://origin.example.com\"",
        "status = 404",
        "origin = \"http://192.0.2.1\"",
    ] {
        assert!(lock.contains(line), "{line}: {lock}");
    }
    assert!(
        !lock.contains("http://origin"),
        "the lock names a mirror: {lock}"
    );

    // The run that recorded is found by what it has recorded.
    place.stop();
    let again = place.builds(&["--frozen"]);
    assert_eq!(again.id, recorded.id);
    assert!(again.said.contains(" 0 run,"), "{}", again.said);
    let replayed = place.builds(&["--offline", "--no-cache"]);
    assert_eq!(replayed.id, recorded.id, "{}", replayed.said);
    assert!(!replayed.said.contains("not recorded"), "{}", replayed.said);
    assert_eq!((place.asked(), place.lock()), (vec![], lock));
}

/// What is not locked is an error that says which request, what is most like it, and what to do.
#[test]
fn a_miss_is_named() {
    let mut place = Place::new();
    place.dockerfile(&format!("COPY fetch /fetch\n{FETCH}"));
    place.write(
        "fetch",
        "wget -qO /got http://origin.example.com/base/pool/one_1.0.deb",
    );
    let refused = place.build(&["--frozen"]);
    assert_eq!(refused.code, 4, "{}", refused.said);
    assert!(
        refused.said.contains("--frozen refuses to lock it"),
        "{}",
        refused.said
    );
    let refused = place.build(&["--offline"]);
    assert_eq!(refused.code, 4, "{}", refused.said);
    assert_eq!(place.asked(), Vec::<String>::new());

    place.builds(&[]);
    place.asked();
    place.write(
        "fetch",
        "wget -qO /got http://origin.example.com/base/pool/one_1.1.deb",
    );
    let missed = place.build(&[]);
    assert_eq!(missed.code, 4, "{}", missed.said);
    for part in [
        "GET own/pool/one_1.1.deb is not recorded; the nearest is own/pool/one_1.0.deb",
        "--relock",
    ] {
        assert!(missed.said.contains(part), "{}", missed.said);
    }
    assert_eq!(
        place.asked(),
        Vec::<String>::new(),
        "a locked step asks nobody"
    );
}

/// Recording again changes what has changed, and steps of one image see one state of an origin.
#[test]
fn relocking_changes_what_changed() {
    let mut place = Place::new();
    let get = |name: &str| format!("wget -qO - http://origin.example.com/base/{name} >> /got");
    place.dockerfile(&format!(
        "RUN {}\nRUN {}; {}",
        get("count"),
        get("count"),
        get("file")
    ));
    let first = place.builds(&[]);
    assert_eq!(place.asked(), ["GET /base/count", "GET /base/file"]);
    let lock = place.lock();
    let second = place.builds(&["--relock"]);
    assert_ne!(first.id, second.id);
    assert_eq!(place.asked(), ["GET /base/count", "GET /base/file"]);
    let relocked = place.lock();
    let changed = |(before, now): &(&str, &str)| before != now;
    let changes: Vec<_> = lock.lines().zip(relocked.lines()).filter(changed).collect();
    assert_eq!(
        changes.len(),
        1,
        "the digest of the count alone: {changes:?}"
    );
    assert!(changes[0].0.starts_with("sha256 = "), "{changes:?}");
    // An origin that starts over gives the first lock, and that the first image without running anything.
    place.restart();
    let third = place.builds(&["--relock"]);
    assert_eq!((third.id, place.lock()), (first.id, lock.clone()));
    // What is answered as it was has its old day.
    let (before, rest) = lock.split_once("when = \"").expect("a day");
    let old = format!("{before}when = \"2001-02-03{}", &rest[10..]);
    std::fs::write(place.path("lockfiles/network-app.lock"), &old).expect("written");
    place.restart();
    place.builds(&["--relock"]);
    assert_eq!(place.lock(), old);
}

/// Readers are told of packages, not of requests.
#[test]
fn relocking_tells_which_packages_moved() {
    let mut place = Place::new();
    place.dockerfile(
        "RUN n=$(wget -qO - http://origin.example.com/base/count) && wget -qO /got http://origin.example.com/base/pool/one_1.${n}_all.deb",
    );
    let first = place.builds(&[]);
    let locked = "locked 2 requests; packages among them: 1";
    assert!(first.said.contains(locked), "{}", first.said);
    let second = place.builds(&["--relock"]);
    assert!(second.said.contains("one 1.1 -> 1.2"), "{}", second.said);
}

/// Bytes that the store has lost are asked for again, and are refused if they are others.
#[test]
fn lost_bytes_are_had_again_by_their_digest() {
    let mut place = Place::new();
    place.dockerfile("RUN wget -qO /got http://origin.example.com/base/pool/one.deb");
    let first = place.builds(&[]);
    let lose = |place: &Place| {
        let lock = place.lock();
        let digest = lock.split("sha256 = \"").nth(1).expect("a digest");
        let blob = place.path("store/blobs/sha256").join(&digest[..64]);
        std::fs::remove_file(blob).expect("there");
    };
    lose(&place);
    place.restart();
    let again = place.builds(&["--no-cache"]);
    assert_eq!(again.id, first.id);
    lose(&place);
    std::fs::write(place.path("changed"), "/base/pool/one.deb").expect("written");
    let refused = place.build(&["--no-cache"]);
    assert_eq!(refused.code, 4);
    assert!(
        refused.said.contains("serves others now"),
        "{}",
        refused.said
    );
    place.stop();
    let refused = place.build(&["--no-cache", "--offline"]);
    assert!(
        refused.said.contains("no origin may be asked"),
        "{}",
        refused.said
    );
}

/// A step reaches what its lock's gateway serves and nothing else: not the machine, not other ports.
#[test]
fn nothing_else_is_reached() {
    let mut place = Place::new();
    let lines = "RUN wget -T 5 -qO /x http://origin.example.com:8080/ || echo no-port\n\
                 RUN wget -T 5 -qO /x http://localhost/ || echo no-machine";
    place.dockerfile(lines);
    let built = place.builds(&[]);
    for part in ["no-port", "no-machine"] {
        assert!(
            built.said.contains(&format!("| {part}\n")),
            "{part}: {}",
            built.said
        );
    }
    assert_eq!(place.asked(), Vec::<String>::new());
}

/// A step that needs another protocol than HTTP fails with what to do about it, one that fails by itself without.
#[test]
fn what_no_recording_answers_is_told() {
    let mut place = Place::new();
    let told = |place: &mut Place, line: &str| {
        place.dockerfile(&format!("RUN {line}"));
        let failed = place.build(&[]);
        assert_eq!(failed.code, 1, "{}", failed.said);
        failed.said
    };
    let said = told(&mut place, "nc -w 5 192.0.2.7 9418 < /dev/null");
    for part in [
        "1 connection of the step found nobody",
        "at the ports 80, 443",
        "RUN --network=host",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = told(&mut place, "timeout 3 tftp -g -r x 192.0.2.7; exit 1");
    assert!(said.contains(" of the step found nobody"), "{said}");
    let said = told(
        &mut place,
        "wget -qO /x http://origin.example.com/none; exit 1",
    );
    assert!(!said.contains("found nobody"), "{said}");
}

/// Programs that read their distribution's bundle and no variable trust the gateway, and what they make of the bundle
/// holds no authority of it.
#[test]
fn the_bundle_of_the_image_is_trusted_and_kept() {
    let mut place = Place::new();
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    place.install("/usr/bin/curl");
    let own = std::fs::read(place.path("certificate.pem")).expect("read");
    let folder = place.path("context/root/etc/ssl/certs");
    std::fs::create_dir_all(folder).expect("made");
    std::fs::write(place.path("context/root").join(bundle), &own).expect("written");
    let script = "unset CURL_CA_BUNDLE SSL_CERT_FILE\ncurl -sSf https://origin.example.com/base/tls\n\
                  chmod 600 /etc/ssl/certs/ca-certificates.crt\ntouch /etc/ssl/certs/more";
    place.write("fetch", script);
    place.dockerfile(&format!("COPY root /\nCOPY fetch /fetch\n{FETCH}"));
    let spec = format!("type=local,dest={}", place.path("out").display());
    let built = place.builds(&["-o", &spec]);
    assert!(
        built.said.contains("content of /base/tls"),
        "{}",
        built.said
    );
    let out = place.path("out").join(bundle);
    assert_eq!(std::fs::read(&out).expect("read"), own);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&out.metadata().expect("there").permissions());
    assert_eq!(mode & 0o7777, 0o600);
    assert!(place.path("out/etc/ssl/certs/more").exists());
}

/// What tbuild.toml says of an image and of an artifact.
#[test]
fn images_and_artifacts_of_a_project_are_recorded() {
    let mut place = Place::new();
    place.dockerfile("RUN wget -qO /got http://origin.example.com/base/image");
    let project = "[project]\nname = \"p\"\n\n[image.app]\ncontext = \"context\"\ndockerfile = \"context/Dockerfile\"\n\
                   network = \"record\"\n\n[artifact.made]\nimage = \"app\"\nnetwork = \"record\"\noutputs = [\"page\"]\n\
                   run = \"wget -qO /outputs/page http://origin.example.com/base/artifact\"\n";
    std::fs::write(place.path("tbuild.toml"), project).expect("written");
    let recorded = place.run(&["artifact", "made"]);
    assert_eq!(recorded.code, 0, "{}", recorded.said);
    assert_eq!(place.asked(), ["GET /base/image", "GET /base/artifact"]);
    for (lock, path) in [("app", "image"), ("artifact-made", "artifact")] {
        let file = place.path(&format!("lockfiles/network-{lock}.lock"));
        let text = std::fs::read_to_string(file).expect("locked");
        assert!(text.contains(&format!("path = \"{path}\"")), "{text}");
    }
    let file = place.path("lockfiles/network-artifact-made.lock");
    let lock = || std::fs::read_to_string(&file);
    let before = lock().expect("read");
    let relocked = place.run(&["lock", "--update", "artifact:made"]);
    assert_eq!(relocked.code, 0, "{}", relocked.said);
    assert_eq!(
        place.asked(),
        ["GET /base/artifact"],
        "of the image nothing"
    );
    assert_eq!(lock().expect("read"), before);
    place.stop();
    let again = place.run(&["--frozen", "--offline", "artifact", "made"]);
    assert_eq!(again.code, 0, "{}", again.said);
    assert!(again.said.contains(" 0 run,"), "{}", again.said);
    place.forget();
    let replayed = place.run(&["--frozen", "--offline", "artifact", "made"]);
    assert_eq!(replayed.code, 0, "{}", replayed.said);
}
