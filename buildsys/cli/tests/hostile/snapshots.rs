//! What images leave on this machine: set-uid files and devices are there, where root alone gets to.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::Bench;

/// All files below a folder.
fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("entry").path();
        if path.symlink_metadata().expect("metadata").is_dir() {
            below(&path, found);
        }
        found.push(path);
    }
}

/// Whether user 65534 can get at a file, in whatever way.
fn reached_by_nobody(path: &Path) -> bool {
    let nobody = |program: &[&str]| {
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
            .args(program)
            .arg(path)
            .output()
            .expect("setpriv runs")
            .status
            .success()
    };
    nobody(&["test", "-e"]) || nobody(&["head", "-c1"]) || nobody(&["env"])
}

#[test]
fn set_uid_files_and_devices_are_out_of_others_reach() {
    let bench = Bench::new();
    // The folders that the test is in are open, so that only the store's own keep others out.
    let open = fs::Permissions::from_mode(0o755);
    let root = bench.path("context").parent().expect("a folder").to_owned();
    fs::set_permissions(&root, open).expect("opened");
    let built = bench.busybox().build(
        "FROM scratch AS base\nCOPY busybox /bin/busybox\nENV PATH=/bin\n\
         COPY --chmod=6755 busybox /copied\n\
         RUN [\"busybox\", \"sh\", \"-c\", \"busybox cp /bin/busybox /su && busybox chmod 6755 /su && busybox chmod 777 / && \
         { busybox mknod -m 666 /disk b 8 0; busybox mknod -m 666 /zero c 1 5; }\"]\n\
         FROM base\nRUN [\"busybox\", \"true\"]\nRUN --mount=type=cache,target=/c [\"busybox\", \"sh\", \"-c\", \
         \"busybox cp /su /c/su && busybox chmod 6755 /c/su\"]\n",
    );
    built.has("/su 6755 file");
    let store = bench.path("store");
    let mut files = Vec::new();
    below(&store, &mut files);
    let mut privileged = 0;
    for path in &files {
        let metadata = path.symlink_metadata().expect("metadata");
        let kind = metadata.file_type();
        let device = kind.is_block_device() || kind.is_char_device();
        let set_id = kind.is_file() && metadata.permissions().mode() & 0o6000 != 0;
        if device || set_id {
            privileged += 1;
            let guarded = path
                .ancestors()
                .skip(1)
                .take_while(|folder| folder.starts_with(&store))
                .any(|folder| {
                    let mode = folder.metadata().expect("metadata").permissions().mode();
                    mode & 0o777 == 0o700
                });
            assert!(guarded, "{} lies open", path.display());
            assert!(!reached_by_nobody(path), "{} is reached", path.display());
        }
    }
    assert!(privileged >= 3, "{privileged} of {files:#?}");
}

#[test]
fn what_is_written_out_stays_in_its_folder() {
    let bench = Bench::new();
    // A folder that is there already has links that lead out, in the place of folders and files of the image.
    let out = bench.path("out");
    fs::create_dir(&out).expect("made");
    std::os::unix::fs::symlink(bench.outside(), out.join("d")).expect("linked");
    std::os::unix::fs::symlink(bench.outside().join("secret"), out.join("f")).expect("linked");
    fs::create_dir(bench.context().join("d")).expect("made");
    bench
        .write("d/pwned", "x")
        .write("f", "mine")
        .write("Dockerfile", "FROM scratch\nCOPY d /d\nCOPY f /f\n");
    let (_, _) = bench.run(&["build", "context", "-o", "type=local,dest=out"]);
    bench.unharmed();
}
