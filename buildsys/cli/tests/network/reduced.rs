//! apt's indexes, cut down by `tbuild lock` to what a step took of them: against the archive that this machine is
//! configured for.

use std::fs;
use std::path::Path;
use std::process::Command;

const PROJECT: &str = r#"[project]
name = "p"
network = "record"

[image.base]
[image.app]
"#;

/// What a step makes of a keyring is its own, the key that it was shown there is not.
const DOCKERFILE: &str = r"FROM base
# tbuild: normalize=apt,ldconfig,machine-id
RUN apt-get update && apt-get install -y --no-install-recommends bsdextrautils && rm -rf /var/lib/apt/lists/* \
 && chmod 600 /usr/share/keyrings/debian-archive-keyring.gpg && sha256sum /usr/share/keyrings/debian-archive-keyring.gpg
";

fn run(folder: &Path, before: &[&str], arguments: &[&str]) -> String {
    let output = Command::new(before[0])
        .args(&before[1..])
        .arg(env!("CARGO_BIN_EXE_tbuild"))
        .arg("-C")
        .arg(folder)
        .arg("--store")
        .arg(folder.join("store"))
        .args(["--color", "never", "--progress", "plain"])
        .args(arguments)
        .output()
        .expect("tbuild starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// A file of an image that was written as a folder.
fn read(folder: &Path, image: &str, path: &str) -> Vec<u8> {
    fs::read(folder.join(image).join(path)).expect("read")
}

#[test]
fn indexes_are_cut_down_to_what_was_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for (image, text) in [("base", "FROM debian:bookworm\n"), ("app", DOCKERFILE)] {
        let of = folder.join("images").join(image);
        fs::create_dir_all(&of).expect("made");
        fs::write(of.join("Dockerfile"), text).expect("written");
    }
    fs::write(folder.join("tbuild.toml"), PROJECT).expect("written");
    let said = run(folder, &["env"], &["lock", "--update", "image:app"]);
    assert!(said.contains("running it again"), "{said}");
    assert!(!said.contains("needs the whole indexes"), "{said}");

    let lock = fs::read_to_string(folder.join("lockfiles/network-app.lock")).expect("locked");
    for part in [
        "path = \"dists/bookworm/InRelease\"",
        "path = \"dists/bookworm/main/binary-amd64/Packages\"",
        "reduced = true",
    ] {
        assert!(lock.contains(part), "{part}: {lock}");
    }
    let pack = folder.join("lockfiles/network-app.pack");
    assert!(fs::metadata(&pack).expect("packed").len() < 50_000);
    let unpacked = Command::new("tar")
        .arg("--zstd")
        .arg("-xOf")
        .arg(&pack)
        .output();
    let text = String::from_utf8_lossy(&unpacked.expect("tar").stdout).into_owned();
    assert!(text.contains("Package: bsdextrautils\n"), "{text}");
    assert!(text.contains("-----BEGIN PGP SIGNATURE-----"), "{text}");
    assert!(!text.contains("Valid-Until"), "it would run out: {text}");

    let write = |image: &str| {
        let spec = format!("type=local,dest={}", folder.join(image).display());
        let isolated = ["unshare", "--net"];
        run(
            folder,
            &isolated,
            &["--offline", "--frozen", "image", image, "-o", &spec],
        )
    };
    let built = write("app");
    assert!(built.contains(" 0 run,"), "the second run counted: {built}");
    fs::remove_dir_all(folder.join("app")).expect("removed");
    fs::remove_dir_all(folder.join("store/actions")).expect("removed");
    fs::create_dir(folder.join("store/actions")).expect("made");
    let said = write("app");
    assert!(said.contains("| Get:"), "it ran again: {said}");
    assert!(folder.join("app/usr/bin/hexdump").exists());
    write("base");
    let keyring = "usr/share/keyrings/debian-archive-keyring.gpg";
    assert_eq!(read(folder, "app", keyring), read(folder, "base", keyring));
    let shown = tbuild_digest::Sha256::of(&read(folder, "base", keyring)).hex();
    assert!(!said.contains(&shown), "the step saw one key more: {said}");

    // The archive has what it had, until the lock says that it had less.
    let outdated = |code: &[&str]| {
        let asked = [&["outdated", "image:app"], code].concat();
        run(folder, &["env"], &asked)
    };
    assert!(outdated(&["--exit-code"]).contains("nothing is newer than what is locked"));
    let older = lock.replace("/bsdextrautils_2", "/bsdextrautils_1");
    assert_ne!(older, lock);
    fs::write(folder.join("lockfiles/network-app.lock"), &older).expect("written");
    let said = outdated(&[]);
    assert!(!said.contains("nothing is newer"), "{said}");
}
