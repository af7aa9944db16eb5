//! Bundles of what is needed to run, and of what is needed to build. Runs as root.

#![allow(
    clippy::disallowed_methods,
    reason = "tests drive programs and read what they leave"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

const PROJECT: &str = "[project]\nname = \"p\"\ndefault = [\"image:app\", \"tool:box\"]\n\n[image.app]\ncontext = \"context\"\ndockerfile = \"context/Dockerfile\"\n\n[image.box]\ncontext = \"context\"\ndockerfile = \"context/Dockerfile\"\ntarget = \"box\"\n\n[tool.box]\nimage = \"box\"\npath = \"/bin/box\"\n";

/// A stage that only building needs, whose bytes no compression makes small.
const DOCKERFILE: &str = "FROM scratch AS made
COPY busybox /bin/busybox
RUN [\"/bin/busybox\", \"dd\", \"if=/dev/urandom\", \"of=/large\", \"bs=1M\", \"count=8\"]
RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo made > /small\"]
FROM scratch AS box
COPY busybox /bin/box
FROM scratch
COPY --from=made /bin/busybox /small /
COPY own /own
";

/// Runs tbuild where there is no network: exit code, standard output, standard error.
fn run(folder: &Path, store: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new("unshare")
        .args(["--net", env!("CARGO_BIN_EXE_tbuild"), "-C"])
        .arg(folder)
        .arg("--store")
        .arg(folder.join(store))
        .args(["--color", "never", "--progress", "plain"])
        .args(arguments)
        .output()
        .expect("unshare");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("an exit code");
    (code, text(&output.stdout), text(&output.stderr))
}

fn builds(folder: &Path, store: &str, arguments: &[&str]) -> (String, String) {
    let (code, out, said) = run(folder, store, arguments);
    assert_eq!(code, 0, "{said}");
    (out, said)
}

#[test]
fn a_bundle_to_run_holds_no_stage_that_only_building_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).expect("written");
    fs::create_dir(folder.join("context")).expect("made");
    fs::copy("/bin/busybox", folder.join("context/busybox")).expect("busybox-static");
    write("context/Dockerfile", DOCKERFILE);
    write("context/own", "own\n");
    write("tbuild.toml", PROJECT);
    let image = |name: &str| format!("type=oci,dest={}", folder.join(name).display());
    let first = image("first.tar");
    builds(folder, "first", &["image", "app", "-o", &first]);
    let mut sizes = Vec::new();
    for closure in ["build", "run"] {
        let file = folder.join(closure).with_extension("tbundle");
        let file = file.display().to_string();
        let create = ["bundle", "create", "--closure", closure, "-o", &file];
        let (digest, _) = builds(folder, "first", &create);
        let (again, _) = builds(folder, "first", &create);
        assert_eq!(digest, again, "the same is the same file");
        sizes.push(fs::metadata(&file).expect("there").len());
        builds(folder, closure, &["--offline", "bundle", "load", &file]);
        let other = image(&format!("{closure}.tar"));
        let (_, said) = builds(
            folder,
            closure,
            &["--offline", "image", "app", "-o", &other],
        );
        assert!(said.contains(" 0 run,"), "{said}");
        let read = |name: &str| fs::read(folder.join(name)).expect("read");
        assert_eq!(read("first.tar"), read(&format!("{closure}.tar")));
        let (path, _) = builds(folder, closure, &["--offline", "tool", "box", "--path"]);
        let tool = fs::read(path.trim()).expect("it is there");
        assert_eq!(tool, fs::read("/bin/busybox").expect("read"));
    }
    assert!(sizes[0] > 8 << 20 && sizes[1] < 4 << 20, "{sizes:?}");

    // What has changed is built where all is there, and refused where it is not.
    let changed = DOCKERFILE.replace("echo made", "echo changed");
    write("context/Dockerfile", &changed);
    builds(folder, "build", &["--offline", "image", "app"]);
    let (code, _, said) = run(folder, "run", &["--offline", "image", "app"]);
    assert_eq!(code, 4, "{said}");
    for part in ["what is needed to run, not to build", "--closure build"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Where it may ask, nothing counts as built that is not here.
    let (_, said) = builds(folder, "run", &["image", "app"]);
    assert!(
        said.contains("| dd if=") || said.contains("large"),
        "{said}"
    );
    // What is finished may be put together anew.
    write("context/Dockerfile", DOCKERFILE);
    builds(
        folder,
        "third",
        &[
            "bundle",
            "load",
            &folder.join("run.tbundle").display().to_string(),
        ],
    );
    write("context/own", "changed\n");
    let (_, said) = builds(folder, "third", &["--offline", "image", "app"]);
    assert!(said.contains(" 1 run,"), "{said}");
}
