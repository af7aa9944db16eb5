//! What a node may leave on a machine, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Host-wide settings that something of a node writes.
const SYSCTLS: [&str; 6] = [
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
];

/// Programs that a node runs, as the kernel names them.
const PROGRAMS: [&str; 11] = [
    "containerd",
    "containerd-shim",
    "kubelet",
    "kubeadm",
    "kube-apiserver",
    "kube-controller",
    "kube-scheduler",
    "kube-proxy",
    "etcd",
    "coredns",
    "pause",
];

/// A machine's state: lines by what they are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<&'static str, BTreeSet<String>>);

impl Snapshot {
    /// The state now.
    pub fn take() -> Self {
        let mut state = BTreeMap::new();
        state.insert("mounts", mounts());
        let routes = ["-o", "route", "show", "table", "all"];
        for (name, arguments) in [
            ("links", &["-br", "link"][..]),
            ("addresses", &["-o", "-br", "addr"]),
            ("routes", &routes),
            ("rules", &["rule"]),
            ("named network namespaces", &["netns"]),
        ] {
            state.insert(name, lines(&output("ip", arguments)));
        }
        let rules = lines(&output("iptables-save", &[]));
        // Comments hold the time, and chains count packets.
        let told = |line: &String| !line.starts_with(['#', ':']);
        state.insert("firewall rules", rules.into_iter().filter(told).collect());
        let mut cgroups = BTreeSet::new();
        folders(Path::new("/sys/fs/cgroup"), &mut cgroups);
        state.insert("cgroups", cgroups);
        state.insert("processes", processes());
        let settings = SYSCTLS.iter().map(|name| {
            let value = fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
            format!("{name} {}", value.trim())
        });
        state.insert("settings", settings.collect());
        Self(state)
    }

    /// Fails unless the machine is as it was. Whatever else runs on it may change it for a moment, so a
    /// difference has to last.
    pub fn assert_restored(&self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let now = Self::take();
            let differences = self.differences(&now);
            if differences.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind:\n{differences}");
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn differences(&self, now: &Self) -> String {
        let mut text = String::new();
        for (name, before) in &self.0 {
            let now = &now.0[name];
            for line in now.difference(before) {
                text.extend(["+ ", name, ": ", line, "\n"]);
            }
            for line in before.difference(now) {
                text.extend(["- ", name, ": ", line, "\n"]);
            }
        }
        text
    }
}

/// All mounts but those that container engines make and take away in their own stores all the time.
fn mounts() -> BTreeSet<String> {
    let table = lines(&fs::read_to_string("/proc/mounts").unwrap());
    let stores = ["/var/lib/containers/", "/var/lib/docker/"];
    let of_engine = |line: &String| {
        let mount_point = line.split(' ').nth(1).unwrap_or_default();
        stores.iter().any(|store| mount_point.starts_with(store))
    };
    table.into_iter().filter(|line| !of_engine(line)).collect()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn folders(folder: &Path, found: &mut BTreeSet<String>) {
    // A folder of something else may go while it is looked at.
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(entry.path().display().to_string());
            folders(&entry.path(), found);
        }
    }
}

/// The node's programs, and everything that this program was called again as.
fn processes() -> BTreeSet<String> {
    let own = fs::read_link("/proc/self/exe").unwrap();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
        let Ok(name) = fs::read_to_string(entry.path().join("comm")) else {
            continue;
        };
        let same = fs::read_link(entry.path().join("exe")).is_ok_and(|exe| exe == own);
        if is_process
            && (same
                || PROGRAMS
                    .iter()
                    .any(|program| name.trim().starts_with(program)))
        {
            found.insert(format!("{} {}", entry.file_name().display(), name.trim()));
        }
    }
    found
}
