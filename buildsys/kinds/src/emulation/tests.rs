use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tbuild_dockerfile::Platform;

use super::{emulator, handler, probe, refusal};

const ALL: [&str; 7] = [
    "amd64", "386", "arm64", "arm/v7", "riscv64", "ppc64le", "s390x",
];

fn platform(architecture: &str) -> Platform {
    Platform::parse(&format!("linux/{architecture}")).expect("it is a platform")
}

/// This machine's architecture.
fn own() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn program(architecture: &str) -> Vec<u8> {
    probe::program(&platform(architecture)).expect("there is a program")
}

/// qemu's emulators read the programs as kernels do, and end as they end.
#[test]
fn programs_are_programs_of_their_platforms() {
    let folder = tempfile::tempdir().expect("a folder");
    for architecture in ALL {
        let path = folder.path().join("program");
        std::fs::write(&path, program(architecture)).expect("it is written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("it is made a program");
        let emulator = emulator(&platform(architecture)).expect("package qemu-user-static");
        let ended = Command::new(&emulator).arg(&path).output();
        let ended = ended.expect("qemu runs");
        assert!(ended.status.success(), "{architecture}: {ended:?}");
    }
    assert_eq!(probe::program(&platform("mips64le")), None);
    assert_eq!(
        probe::program(&Platform::parse("windows/amd64").expect("it is a platform")),
        None
    );
}

#[test]
fn the_machine_runs_its_own_and_nothing_that_is_no_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = own();
    let runs = |bytes: &[u8]| probe::runs(folder.path(), &platform(own), bytes, None);
    assert!(runs(&program(own)).expect("it is tried"));
    let mut broken = program(own);
    broken[18] = 0xfe;
    assert!(!runs(&broken).expect("it is tried"));
    // A program of this machine's that does not end well.
    let start = broken.len() - 9;
    let mut dying = program(own);
    dying[start..].fill(0);
    assert!(!runs(&dying).expect("it is tried"));
}

#[test]
fn handlers_are_found_by_what_they_match() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("it is written");
    };
    let of = |architecture: &str| handler::of(folder.path(), &program(architecture));
    write("status", "enabled\n");
    assert_eq!(of("arm64"), None);
    let mask = "ffffffffffffff00fffffffffffffffffeffffff";
    let entry = |state: &str, flags: &str| {
        format!(
            "{state}\ninterpreter /usr/bin/qemu-aarch64-static\nflags: {flags}\noffset 0\n\
             magic 7f454c460201010000000000000000000200b700\nmask {mask}\n"
        )
    };
    write("qemu-aarch64", &entry("disabled", ""));
    assert_eq!(of("arm64"), None);
    write("qemu-aarch64", &entry("enabled", "OC"));
    let path = of("arm64").expect("it is there").by_path();
    assert_eq!(path, Some(PathBuf::from("/usr/bin/qemu-aarch64-static")));
    assert_eq!(of("riscv64"), None);
    write("qemu-aarch64", &entry("enabled", "POCF"));
    assert_eq!(of("arm64").expect("it is there").by_path(), None);
    write("qemu-aarch64", "enabled\nmagic zz\n");
    assert_eq!(of("arm64"), None);
    assert_eq!(
        handler::of(Path::new("/nonexistent"), &program("arm64")),
        None
    );
}

#[test]
fn a_refusal_names_the_platform_and_what_to_do() {
    let machine = platform("amd64");
    let refused = |wanted: &Platform, emulator: Option<&str>, rootless| {
        let emulator = emulator.map(PathBuf::from);
        let error = refusal(&machine, wanted, "Dockerfile:2: RUN", emulator, rootless);
        assert_eq!(error.exit_code(), 3);
        format!("{error}\n{}", error.hints().join("\n"))
    };
    let said = refused(&platform("arm64"), None, false);
    assert!(
        said.starts_with("Dockerfile:2: RUN: programs for linux/arm64"),
        "{said}"
    );
    assert!(said.contains("apt install qemu-user-static"), "{said}");
    let said = refused(
        &platform("arm64"),
        Some("/usr/bin/qemu-aarch64-static"),
        false,
    );
    assert!(
        said.contains("/usr/bin/qemu-aarch64-static is installed"),
        "{said}"
    );
    assert!(
        said.contains("update-binfmts --enable qemu-aarch64"),
        "{said}"
    );
    assert!(said.contains("in its own sandbox"), "{said}");
    let said = refused(
        &platform("arm64"),
        Some("/usr/bin/qemu-aarch64-static"),
        true,
    );
    assert!(!said.contains("in its own sandbox"), "{said}");
    let said = refused(&platform("mips64le"), None, false);
    assert!(said.contains("no emulator is known for mips64le"), "{said}");
    let windows = Platform::parse("windows/amd64").expect("it is a platform");
    assert!(!refused(&windows, None, false).contains("apt"));
}
