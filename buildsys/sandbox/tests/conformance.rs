//! The sandbox passes the executors' suite, and captures what was written. Runs as root.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

#[path = "common/root.rs"]
mod root;
#[path = "common/shell.rs"]
mod shell;

use std::path::{Path, PathBuf};
use std::process::Command;

use tbuild_exec::conformance;
use tbuild_sandbox::{Sandbox, capture};
use tbuild_tree::{Node, Rootfs, SOURCE_DATE_EPOCH, TreePath};

fn sandbox() -> Sandbox {
    Sandbox::new(PathBuf::from(env!("CARGO_BIN_EXE_sandbox-helper")))
}

/// The same through crun, which Debian's package of that name installs.
fn crun() -> Sandbox {
    sandbox().through_crun(PathBuf::from("/usr/bin/crun"))
}

fn suite(executor: &Sandbox) {
    let folder = tempfile::tempdir().expect("a folder");
    let (root, scratch) = (folder.path().join("root"), folder.path().join("scratch"));
    std::fs::create_dir_all(&scratch).expect("made");
    root::make(&root);
    conformance::all(executor, &root, &scratch);
    conformance::served(executor, &root, &scratch.join("served"));
}

#[test]
fn passes_the_suite() {
    suite(&sandbox());
}

#[test]
fn passes_the_suite_through_crun() {
    suite(&crun());
}

/// As in a container that may not mount: root without CAP_SYS_ADMIN, in a user namespace of its own making.
#[test]
fn passes_the_suite_in_a_user_namespace() {
    let output = Command::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "--"])
        .arg(env!("CARGO_BIN_EXE_sandbox-helper"))
        .arg("enter")
        .arg(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "passes_the_suite",
            "passes_the_suite_through_crun",
            "captures_what_changed_and_nothing_else",
        ])
        .output()
        .expect("setpriv runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("3 passed"), "{said}");
}

fn run(executor: &Sandbox, root: &Path, folder: &Path, line: &str) -> PathBuf {
    shell::run(executor, vec![root.to_owned()], folder, line).0
}

#[test]
fn captures_what_changed_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    root::make(&root);
    let lower = folder.path().join("lower-copy");
    std::fs::create_dir_all(&lower).expect("made");
    // The lower view as capture itself reads it, from a copy that it may write to.
    assert!(
        Command::new("cp")
            .args(["-a", "--"])
            .arg(format!("{}/.", root.display()))
            .arg(&lower)
            .status()
            .expect("cp")
            .success()
    );
    let below = Rootfs::new(vec![std::sync::Arc::new(
        capture(&lower, &Rootfs::default()).expect("captured").tree,
    )]);
    let line = "touch /kept; echo a > /b; ln /b /a; rm -r /gone; rm -r /folder; mkdir /folder; echo n > /folder/new; \
                mkdir -p /deep/er; touch /deep/er/x; ln -s nowhere /s; chmod 600 /etc; cat /kept > /tmp/copy; rm /tmp/copy";
    let upper = run(&sandbox(), &root, &folder.path().join("step"), line);
    let tree = capture(&upper, &below).expect("captured").tree;
    let paths: Vec<String> = tree
        .entries()
        .iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(
        paths,
        [
            "/a",
            "/b",
            "/deep",
            "/deep/er",
            "/deep/er/x",
            "/etc",
            "/folder",
            "/folder/new",
            "/gone",
            "/s"
        ],
        "neither /kept, only touched, nor /tmp, only used"
    );
    let get = |path: &str| tree.get(&TreePath::from(path)).expect("there").clone();
    assert!(matches!(get("a").node, Node::File { size: 2, .. }));
    assert_eq!(get("b").node, Node::Hardlink { target: "a".into() });
    assert_eq!(get("gone").node, Node::Whiteout);
    assert!(get("folder").opaque);
    assert_eq!(get("etc").mode, 0o600);
    for path in ["a", "deep/er", "s", "folder"] {
        let time = std::os::unix::fs::MetadataExt::mtime(
            &upper.join(path).symlink_metadata().expect("there"),
        );
        assert_eq!(time, SOURCE_DATE_EPOCH, "{path}");
    }
    assert!(
        upper.join("kept").symlink_metadata().is_err(),
        "the folder says what the layer says"
    );
    // Once canonical, capturing again changes nothing.
    assert_eq!(capture(&upper, &below).expect("captured").tree, tree);
}

/// The parent that is killed is this program again: `test` with `executor`, whose step sleeps for `seconds`.
fn dies_with_parent(test: &str, executor: &Sandbox, seconds: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("root");
    root::make(&root);
    if let Ok(path) = std::env::var("TBUILD_SANDBOX_CHILD") {
        // This is the parent that is about to be killed.
        let line = format!("setsid sleep {seconds} & sleep {seconds}");
        run(executor, &root, Path::new(&path), &line);
        return;
    }
    let program = std::env::current_exe().expect("this test");
    let mut parent = Command::new(program)
        .args(["--exact", test, "--nocapture"])
        .env("TBUILD_SANDBOX_CHILD", folder.path().join("child"))
        .spawn()
        .expect("spawned");
    let begin = format!("sleep\u{0}{seconds}");
    let alive = || {
        std::fs::read_dir("/proc")
            .expect("proc")
            .flatten()
            .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| String::from_utf8_lossy(line).starts_with(&begin))
            .count()
    };
    let wait = |wanted: usize| {
        (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            alive() == wanted
        })
    };
    assert!(wait(2), "both sleep");
    parent.kill().expect("killed");
    parent.wait().expect("waited");
    assert!(wait(0), "something outlives its parent");
}

#[test]
fn dies_with_its_parent() {
    dies_with_parent("dies_with_its_parent", &sandbox(), "91919.5");
}

#[test]
fn dies_with_its_parent_through_crun() {
    dies_with_parent("dies_with_its_parent_through_crun", &crun(), "91919.25");
}
