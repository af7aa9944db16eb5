//! Steps: one is run, over layers that make overlayfs show and write all its marks.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use tbuild_exec::{Action, Cancel, ExecError, Executor, Mount, MountSource, Network};
use tbuild_sandbox::capture;
use tbuild_store::Store as _;
use tbuild_store_local::LocalStore;
use tbuild_tree::{Node, Rootfs, TreePath};

use super::Finding;

/// What the step does to the layer below it.
const LINE: &str = "rm /layer/gone; rm -r /layer/new; mkdir /layer/new; echo x >/layer/new/file";

/// Runs a step with no network and one with the host's.
pub fn steps(store: &LocalStore, executor: &dyn Executor) -> Vec<Finding> {
    [(Network::None, "steps"), (Network::Host, "steps, network")]
        .into_iter()
        .map(|(network, check)| match step(store, executor, network) {
            Ok(()) => Finding::ok(
                check,
                format!("{}: a step ran, its layer is right", executor.name()),
            ),
            Err((text, remedy)) => Finding::missing(check, text, remedy),
        })
        .collect()
}

/// What failed, and what to do.
type Failed = (String, String);

fn step(store: &LocalStore, executor: &dyn Executor, network: Network) -> Result<(), Failed> {
    let other = |text: String| {
        (
            text,
            "tbuild --store with a folder on another file system may do".to_owned(),
        )
    };
    let staging = store
        .stage()
        .map_err(|error| other(crate::error::chain(&error)))?;
    let lower = staging.work().with_file_name("lower");
    let made =
        prepare(&lower).map_err(|error| other(format!("cannot write to the store: {error}")));
    // All of it goes with the staging.
    made.and_then(|()| {
        let below = capture(&lower, &Rootfs::default())
            .map_err(|error| other(crate::error::chain(&error)))?;
        let action = action(&lower, staging.upper(), staging.work(), network);
        let mut said = String::new();
        let mut sink = |_, bytes: &[u8]| said.push_str(&String::from_utf8_lossy(bytes));
        match executor.run(&action, &mut sink, &Cancel::new()) {
            Ok(exit) if exit.success() => {}
            Ok(exit) => return Err(other(format!("a step failed: {exit}: {}", said.trim()))),
            Err(error) => return Err((crate::error::chain(&error), remedy(&error))),
        }
        let view = Rootfs::new(vec![std::sync::Arc::new(below.tree)]);
        let tree = capture(staging.upper(), &view)
            .map_err(|error| other(crate::error::chain(&error)))?
            .tree;
        let opaque = tree
            .get(&TreePath::from("layer/new"))
            .is_some_and(|entry| entry.opaque);
        let gone = tree
            .get(&TreePath::from("layer/gone"))
            .is_some_and(|entry| entry.node == Node::Whiteout);
        let device = staging.upper().join("layer/gone").symlink_metadata();
        let device = device.is_ok_and(|stat| stat.file_type().is_char_device() && stat.rdev() == 0);
        if opaque && gone && device {
            return Ok(());
        }
        Err(other(
            "overlayfs does not mark what a step removed on this file system".to_owned(),
        ))
    })
}

fn prepare(lower: &Path) -> std::io::Result<()> {
    for folder in ["layer/new/old", "usr", "tmp"] {
        std::fs::create_dir_all(lower.join(folder))?;
    }
    std::fs::write(lower.join("layer/gone"), b"x")
}

/// A shell of this machine's, its folders mounted over the layer.
fn action(lower: &Path, upper: &Path, work: &Path, network: Network) -> Action {
    let folders = ["/bin", "/sbin", "/lib", "/lib64", "/usr"];
    let mounts = folders
        .into_iter()
        .filter(|folder| Path::new(folder).is_dir())
        .map(|folder| Mount {
            target: folder.to_owned(),
            source: MountSource::Bind(folder.into()),
            read_only: true,
        });
    let argv = ["/bin/sh", "-ec", LINE].map(str::to_owned).to_vec();
    let lower = vec![lower.to_owned()];
    Action {
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        mounts: mounts.collect(),
        network,
        hostname: "doctor".to_owned(),
        ..Action::new(lower, upper.to_owned(), work.to_owned(), argv)
    }
}

/// What may help, by what the kernel refused.
fn remedy(error: &ExecError) -> String {
    let ExecError::Setup { what, executor, .. } = error else {
        return "the shell of this machine has to run: /bin/sh".to_owned();
    };
    if *executor == "docker"
        && ["container", "engine", "step"]
            .iter()
            .any(|word| what.contains(word))
    {
        return "docker run has to work, in an engine whose processes, users and files are this machine's".to_owned();
    }
    let cases = [
        (
            "/proc",
            "a container that covers parts of /proc lets nobody mount another: docker run --security-opt \
                   systempaths=unconfined, podman run --security-opt unmask=ALL",
        ),
        (
            "overlay",
            "overlayfs has to work on the store's file system: another folder (--store), a volume instead of \
                     a container's own files, or Linux 5.11 and later for who is not root",
        ),
        (
            "namespaces",
            "namespaces have to be allowed: root with CAP_SYS_ADMIN, or user.max_user_namespaces above 0",
        ),
        (
            "container",
            "crun --version has to be 1.8 or later, and to run: it says itself what it lacks",
        ),
        ("filter", "the kernel has to have CONFIG_SECCOMP_FILTER"),
        (
            "helper",
            "the program tbuild itself has to be executable from here",
        ),
    ];
    let found = cases.into_iter().find(|(word, _)| what.contains(word));
    found
        .map_or(
            "the container or the security module that tbuild runs in has to allow it",
            |(_, text)| text,
        )
        .to_owned()
}
