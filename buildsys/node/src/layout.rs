//! Where things lie in a node's data folder.

use std::path::{Path, PathBuf};

/// The data folder.
#[derive(Debug, Clone)]
pub(crate) struct Layout(PathBuf);

/// Folders of the machine that are not its root's: containerd's snapshots cannot lie on an overlay, and these
/// outlive a machine that is started again. Pairs of name here and path there.
pub(crate) const MACHINE_FOLDERS: [(&str, &str); 5] = [
    ("containerd", "var/lib/containerd"),
    ("kubelet", "var/lib/kubelet"),
    ("etcd", "var/lib/etcd"),
    ("cni", "var/lib/cni"),
    ("log", "var/log"),
];

/// Inside the machine: there once `kubeadm init` is done.
pub(crate) const INITIALISED: &str = "etc/tbuild/initialised";

impl Layout {
    pub(crate) fn new(data: &Path) -> Self {
        Self(data.to_owned())
    }

    pub(crate) fn data(&self) -> &Path {
        &self.0
    }

    /// Held while a node is brought up or taken down.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// What the supervisor holds; see [`crate::state::State`].
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// What the supervisor is to make.
    pub(crate) fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }

    /// Which processes the machine has; see [`crate::state::Machine`].
    pub(crate) fn machine(&self) -> PathBuf {
        self.0.join("machine.json")
    }

    /// Reports, a JSON line each; begun anew by each supervisor.
    pub(crate) fn events(&self) -> PathBuf {
        self.0.join("events.jsonl")
    }

    /// Made when the machine may be started.
    pub(crate) fn boot(&self) -> PathBuf {
        self.0.join("boot")
    }

    /// The administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The Node's labels, there once it was all up.
    pub(crate) fn ready(&self) -> PathBuf {
        self.0.join("ready.json")
    }

    /// Logs of the supervisor's own processes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.0.join("log").join(format!("{name}.log"))
    }

    /// Logs of the machine: its /var/log.
    pub(crate) fn machine_log(&self, name: &str) -> PathBuf {
        self.machine_folder("log").join(format!("{name}.log"))
    }

    /// One of [`MACHINE_FOLDERS`].
    pub(crate) fn machine_folder(&self, name: &str) -> PathBuf {
        self.0.join("machine").join(name)
    }

    /// The overlay's parts: `upper`, `work`, `merged`, and `l`, whose numbered links name the layers shortly
    /// (mount options end at 4,095 bytes, and cannot hold `:` and `,` unescaped).
    pub(crate) fn root(&self, part: &str) -> PathBuf {
        self.0.join("root").join(part)
    }

    /// A file that the machine wrote into its root file system.
    pub(crate) fn in_machine(&self, path: &str) -> PathBuf {
        self.root("upper").join(path)
    }

    /// All names in the data folder that are ours, except the lock.
    pub(crate) const NAMES: [&str; 10] = [
        "state.json",
        "spec.json",
        "machine.json",
        "events.jsonl",
        "boot",
        "ready.json",
        "kubeconfig",
        "log",
        "machine",
        "root",
    ];
}
