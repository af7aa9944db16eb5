//! A root file system to run steps over, and layers on it.

mod shell;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tbuild_sandbox::{Sandbox, capture};
use tbuild_store_local::remove_tree;
use tbuild_tree::{Rootfs, Tree};

/// Where a program of this machine is.
fn program(name: &str) -> PathBuf {
    let folders = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let found = folders
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Copies a folder as it is.
pub fn copy_tree(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--"])
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(copied.expect("cp").success());
}

/// A scratch folder, removed with all that is in it however deep.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_tree(&self.0).expect("removed");
    }
}

/// Layers to run steps over.
pub struct Bench {
    scratch: Arc<Scratch>,
    count: Arc<AtomicUsize>,
    /// Topmost first.
    lower: Vec<PathBuf>,
    below: Rootfs,
}

impl Bench {
    /// A root with these programs, busybox's among them.
    pub fn new(programs: &[&str]) -> Self {
        Self::at(&std::env::temp_dir(), programs)
    }

    /// The same in memory, for more files than a slow disk takes in time.
    pub fn in_memory(programs: &[&str]) -> Self {
        Self::at(Path::new("/dev/shm"), programs)
    }

    fn at(folder: &Path, programs: &[&str]) -> Self {
        let scratch = tempfile::tempdir_in(folder).expect("a folder").keep();
        let root = scratch.join("root");
        for name in programs {
            shell::install(&root, &program(name));
        }
        for folder in ["etc", "tmp", "bin"] {
            std::fs::create_dir_all(root.join(folder)).expect("made");
        }
        std::fs::write(root.join("etc/kept"), "kept").expect("written");
        let busybox = program("busybox");
        let list = Command::new(&busybox)
            .arg("--list")
            .output()
            .expect("busybox runs");
        for applet in String::from_utf8_lossy(&list.stdout)
            .lines()
            .filter(|applet| *applet != "busybox")
        {
            let _there = std::os::unix::fs::symlink(&busybox, root.join("bin").join(applet));
        }
        let tree = capture(&root, &Rootfs::default()).expect("captured").tree;
        Self {
            scratch: Arc::new(Scratch(scratch)),
            count: Arc::default(),
            lower: vec![root],
            below: Rootfs::new(vec![Arc::new(tree)]),
        }
    }

    /// The same with one layer more.
    pub fn over(&self, upper: &Path, tree: Tree) -> Self {
        let mut layers = self.below.layers().to_vec();
        layers.push(Arc::new(tree));
        Self {
            scratch: Arc::clone(&self.scratch),
            count: Arc::clone(&self.count),
            lower: [&[upper.to_owned()], self.lower.as_slice()].concat(),
            below: Rootfs::new(layers),
        }
    }

    /// What the layers show.
    pub fn below(&self) -> Rootfs {
        self.below.clone()
    }

    /// A new folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let folder = self.scratch.0.join(format!("{name}{number}"));
        std::fs::create_dir_all(&folder).expect("made");
        folder
    }

    /// Runs a line of shell that has to succeed; the folder that it wrote.
    pub fn run(&self, line: &str) -> PathBuf {
        self.step(line).0
    }

    /// What a line of shell says.
    pub fn says(&self, line: &str) -> String {
        self.step(line).1
    }

    fn step(&self, line: &str) -> (PathBuf, String) {
        let folder = self.folder("step");
        let sandbox = Sandbox::new(PathBuf::from(env!("CARGO_BIN_EXE_sandbox-helper")));
        shell::run(&sandbox, self.lower.clone(), &folder, line)
    }
}
