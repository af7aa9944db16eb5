//! Locks of bases made from packages: against the archive that this machine is configured for.

use std::fs;
use std::path::Path;
use std::process::Command;

const PROJECT: &str = "[project]\nname = \"p\"\n\n[image.app]\n";

fn run(folder: &Path, arguments: &[&str], code: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tbuild"))
        .arg("-C")
        .arg(folder)
        .arg("--store")
        .arg(folder.join("store"))
        .args(["--color", "never", "--progress", "plain"])
        .args(arguments)
        .output()
        .expect("tbuild starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn packages_of_a_base_are_looked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::create_dir_all(folder.join("images/app")).expect("made");
    fs::write(
        folder.join("images/app/Dockerfile"),
        "FROM debian:bookworm\n",
    )
    .expect("written");
    fs::write(folder.join("tbuild.toml"), PROJECT).expect("written");
    run(folder, &["lock"], 0);
    let file = folder.join("lockfiles/base-debian-bookworm.lock");
    let lock = fs::read_to_string(&file).expect("locked");
    let day = lock.split("when = \"").nth(1).expect("a day")[..10].to_owned();
    run(folder, &["lock", "--check"], 0);
    // Old, but the archive has no other release by now.
    let old = lock.replace(&day, "2001-02-03");
    fs::write(&file, &old).expect("written");
    run(folder, &["lock", "--check", "--age", "30"], 0);
    run(folder, &["lock", "--update"], 0);
    let now = fs::read_to_string(&file).expect("locked");
    assert_eq!(now, old, "what is resolved as it was keeps its day");

    // The archive went on, and a package's file is gone.
    let at = lock.find("/apt_").expect("apt is in it");
    let lost = format!("{}/apt_0.0_{}", &old[..at], &old[at + 5..]);
    let release = lost.split("sha256 = \"").nth(1).expect("a release")[..64].to_owned();
    let lost = lost.replace(&release, &"0".repeat(64));
    fs::write(&file, &lost).expect("written");
    let said = run(folder, &["lock", "--check", "--age", "30"], 4);
    for part in [
        "gone: debian/pool/main/a/apt/apt_0.0_",
        "of lockfiles' base-debian-bookworm: no origin has it",
        "old: debian/dists/bookworm/InRelease of lockfiles' base-debian-bookworm: locked on 2001-02-03",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    run(folder, &["lock", "--check", "base:debian:bookworm"], 4);
    let said = run(folder, &["lock", "--update-missing"], 0);
    assert!(said.contains("1 name is locked"), "{said}");
    assert_eq!(fs::read_to_string(&file).expect("locked"), lock);
    let said = run(folder, &["lock", "--update-missing"], 0);
    assert!(said.contains("nothing is missing"), "{said}");

    let at = lock.find("name = \"apt\"\nversion = \"").expect("apt") + 23;
    let older = format!("{}0~{}", &lock[..at], &lock[at..]);
    fs::write(&file, &older).expect("written");
    run(folder, &["outdated", "--exit-code"], 4);
    assert_eq!(fs::read_to_string(&file).expect("locked"), older);
}
