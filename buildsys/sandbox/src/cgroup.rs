//! Limits for all processes of an action together: cgroups(7), version 1, version 2, or both side by side.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tbuild_exec::Limits;

/// Begins the name of every folder that is made; the process id and a number follow.
const PREFIX: &str = "tbuild-";
/// The helper and the init are processes, too.
const OWN_PROCESSES: u64 = 2;
/// Over how long processor time is counted, in microseconds.
const PERIOD: u64 = 100_000;

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A cgroup for one action: a folder in each hierarchy that has a controller that is needed. Dropped, it goes.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folders: Vec<PathBuf>,
    /// The file that counts processes that were killed for want of memory.
    events: Option<PathBuf>,
}

/// A mounted hierarchy, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    unified: bool,
    /// The controllers of a version 1 hierarchy.
    controllers: Vec<String>,
    /// Where it is mounted.
    top: PathBuf,
    /// The folder of this process in it.
    own: PathBuf,
}

impl Cgroup {
    /// The cgroup that `limits` take; none if they take none.
    pub(crate) fn make(limits: &Limits) -> io::Result<Option<Self>> {
        if !limits.need_cgroup() {
            return Ok(None);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup")?;
        Self::make_in(&hierarchies(&mounts, &own), limits).map(Some)
    }

    fn make_in(hierarchies: &[Hierarchy], limits: &Limits) -> io::Result<Self> {
        let wanted = [
            ("memory", limits.memory.is_some()),
            ("cpu", limits.cpus.is_some()),
            ("pids", limits.pids.is_some()),
        ];
        let wanted = || wanted.iter().filter(|(_, on)| *on).map(|(name, _)| *name);
        let mut cgroup = Self {
            folders: Vec::new(),
            events: None,
        };
        let mut unified = Vec::new();
        let name = format!(
            "{PREFIX}{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::SeqCst)
        );
        for controller in wanted() {
            let has = |hierarchy: &&Hierarchy| {
                !hierarchy.unified && hierarchy.controllers.iter().any(|name| name == controller)
            };
            let Some(hierarchy) = hierarchies.iter().find(has) else {
                unified.push(controller);
                continue;
            };
            sweep(&hierarchy.own);
            let folder = hierarchy.own.join(&name);
            // Two controllers may share a hierarchy.
            if !cgroup.folders.contains(&folder) {
                make_folder(&folder)?;
                cgroup.folders.push(folder.clone());
            }
            cgroup.limit(&folder, controller, false, limits)?;
        }
        if !unified.is_empty() {
            let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.unified);
            let parent = hierarchy
                .and_then(|hierarchy| parent(hierarchy, &unified))
                .ok_or_else(|| {
                    let what = unified.join(", ");
                    io::Error::other(format!("no cgroup can be made that has {what}"))
                })?;
            sweep(&parent);
            let folder = parent.join(&name);
            make_folder(&folder)?;
            cgroup.folders.push(folder.clone());
            for controller in unified {
                cgroup.limit(&folder, controller, true, limits)?;
            }
        }
        Ok(cgroup)
    }

    /// Sets the limit of one controller in its folder.
    fn limit(
        &mut self,
        folder: &Path,
        controller: &str,
        unified: bool,
        limits: &Limits,
    ) -> io::Result<()> {
        let set = |file: &str, value: String| write(&folder.join(file), &value);
        match (controller, unified) {
            ("memory", _) => {
                let bytes = limits.memory.unwrap_or(u64::MAX).to_string();
                let (limit, swap, events) = if unified {
                    (
                        "memory.max",
                        ("memory.swap.max", "0".to_owned()),
                        "memory.events",
                    )
                } else {
                    let swap = ("memory.memsw.limit_in_bytes", bytes.clone());
                    ("memory.limit_in_bytes", swap, "memory.oom_control")
                };
                set(limit, bytes)?;
                // Kernels that count no swap have no such file.
                if folder.join(swap.0).exists() {
                    set(swap.0, swap.1)?;
                }
                self.events = Some(folder.join(events));
            }
            ("cpu", _) => {
                // Less than a thousandth of a second is refused.
                let quota = limits
                    .cpus
                    .unwrap_or(0)
                    .saturating_mul(PERIOD / 1000)
                    .max(1000);
                if unified {
                    set("cpu.max", format!("{quota} {PERIOD}"))?;
                } else {
                    set("cpu.cfs_period_us", PERIOD.to_string())?;
                    set("cpu.cfs_quota_us", quota.to_string())?;
                }
            }
            _ => {
                let most = limits.pids.unwrap_or(0).saturating_add(OWN_PROCESSES);
                set("pids.max", most.to_string())?;
            }
        }
        Ok(())
    }

    /// Moves a process into it, and so all that it will start.
    pub(crate) fn take(&self, process: u32) -> io::Result<()> {
        for folder in &self.folders {
            write(&folder.join("cgroup.procs"), &process.to_string())?;
        }
        Ok(())
    }

    /// Whether a process in it was killed for want of memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        self.events.as_ref().is_some_and(|file| counts_kills(file))
    }
}

/// Whether a file of memory's events tells of a process that was killed.
fn counts_kills(file: &Path) -> bool {
    let events = fs::read_to_string(file).unwrap_or_default();
    let killed = events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    killed.is_some_and(|count| count.trim() != "0")
}

/// Whether a process was killed for want of memory in the cgroup of another process, as this one sees it.
pub(crate) fn out_of_memory(process: i32) -> bool {
    let read = |file: String| fs::read_to_string(file).unwrap_or_default();
    let mounts = read("/proc/self/mountinfo".to_owned());
    let place = read(format!("/proc/{process}/cgroup"));
    hierarchies(&mounts, &place).iter().any(|hierarchy| {
        let memory = hierarchy.controllers.iter().any(|name| name == "memory");
        let file = match (hierarchy.unified, memory) {
            (true, _) => "memory.events",
            (false, true) => "memory.oom_control",
            (false, false) => return false,
        };
        counts_kills(&hierarchy.own.join(file))
    })
}

/// What a step is told of it.
pub(crate) fn out_of_memory_line(limit: u64) -> String {
    format!("out of memory: the limit of {limit} bytes for this step was reached\n")
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            // A process that was just killed still counts for a moment. What is left then, the next one sweeps.
            for _ in 0..200 {
                match fs::remove_dir(folder) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder).map_err(|error| named("make the cgroup", folder, &error))
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|error| named("write", file, &error))
}

fn named(what: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {what} {}: {error}", path.display()),
    )
}

/// Removes what killed processes have left in `folder`.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|owner: u32| !Path::new("/proc").join(owner.to_string()).exists()) {
            // One that still holds a process stays.
            let _busy = fs::remove_dir(entry.path());
        }
    }
}

/// The folder of a version 2 hierarchy in which one with these controllers can be made: the nearest above this
/// process that hands them to its children. Its own may hold no child with controllers as long as it holds a
/// process (cgroups(7), "no internal processes"), unless it is the root.
fn parent(hierarchy: &Hierarchy, controllers: &[&str]) -> Option<PathBuf> {
    let has = |folder: &Path, file: &str| {
        let names = fs::read_to_string(folder.join(file)).unwrap_or_default();
        let names: Vec<&str> = names.split_whitespace().collect();
        controllers.iter().all(|wanted| names.contains(wanted))
    };
    let mut at = hierarchy.own.clone();
    while at != hierarchy.top && at.pop() {
        if has(&at, "cgroup.subtree_control") && is_writable(&at) {
            return Some(at);
        }
    }
    let top = &hierarchy.top;
    if !has(top, "cgroup.controllers") || !is_writable(top) {
        return None;
    }
    for controller in controllers {
        fs::write(top.join("cgroup.subtree_control"), format!("+{controller}")).ok()?;
    }
    Some(top.clone())
}

fn is_writable(folder: &Path) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
}

/// The hierarchies of a `/proc/self/mountinfo` table with this process's place in them by `/proc/self/cgroup`.
fn hierarchies(mounts: &str, own: &str) -> Vec<Hierarchy> {
    let place = |controllers: &[String]| {
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (names, path) = (fields.next()?, fields.next()?);
            let here = match controllers.first() {
                None => names.is_empty(),
                Some(first) => names.split(',').any(|name| name == first),
            };
            here.then(|| path.to_owned())
        })
    };
    let hierarchy = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let unified = match kind.next()? {
            "cgroup2" => true,
            "cgroup" => false,
            _ => return None,
        };
        let controllers: Vec<String> = if unified {
            Vec::new()
        } else {
            let options = kind.nth(1)?.split(',');
            options
                .filter(|option| ["memory", "cpu", "pids"].contains(option))
                .map(str::to_owned)
                .collect()
        };
        if !unified && controllers.is_empty() {
            return None;
        }
        let mut fields = fields.split(' ').skip(3);
        let (root, top) = (fields.next()?, PathBuf::from(fields.next()?));
        let path = place(&controllers)?;
        let below = Path::new(&path).strip_prefix(root).ok();
        let below = below.unwrap_or(Path::new(""));
        Some(Hierarchy {
            unified,
            controllers,
            own: if below.as_os_str().is_empty() {
                top.clone()
            } else {
                top.join(below)
            },
            top,
        })
    };
    mounts.lines().filter_map(hierarchy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Limits {
        Limits {
            memory: Some(64 << 20),
            cpus: Some(1500),
            pids: Some(10),
            ..Limits::default()
        }
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn hierarchies_of_version_1_2_and_both_are_found() {
        let mounts = "25 1 0:20 / / rw - ext4 /dev/vda rw\n\
                      30 25 0:29 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                      31 25 0:30 /box /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 25 0:31 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n\
                      33 25 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let own = "4:cpu,cpuacct:/a\n3:memory:/box/a/b\n2:devices:/\n0::/user.slice/x\n";
        let found = hierarchies(mounts, own);
        let paths: Vec<_> = found
            .iter()
            .map(|one| (one.unified, one.own.to_str().unwrap_or_default()))
            .collect();
        assert_eq!(
            paths,
            [
                (false, "/sys/fs/cgroup/cpu/a"),
                (false, "/sys/fs/cgroup/memory/a/b"),
                (true, "/sys/fs/cgroup/unified/user.slice/x"),
            ]
        );
    }

    /// A version 2 hierarchy as files. The real one cannot be had where version 1 has the controllers.
    #[test]
    fn version_2_is_limited_beside_the_own_cgroup() {
        let folder = tempfile::tempdir().expect("a folder");
        let top = folder.path().to_owned();
        let own = top.join("user.slice/session.scope");
        fs::create_dir_all(&own).expect("made");
        fs::write(top.join("cgroup.subtree_control"), "cpu memory pids\n").expect("written");
        fs::write(top.join("user.slice/cgroup.subtree_control"), "memory\n").expect("written");
        let hierarchy = Hierarchy {
            unified: true,
            controllers: Vec::new(),
            top: top.clone(),
            own,
        };
        assert_eq!(
            parent(&hierarchy, &["memory"]),
            Some(top.join("user.slice"))
        );
        let cgroup = Cgroup::make_in(std::slice::from_ref(&hierarchy), &all()).expect("made");
        let [made] = cgroup.folders.as_slice() else {
            panic!("{cgroup:?}")
        };
        assert_eq!(made.parent(), Some(top.as_path()));
        assert_eq!(read(&made.join("memory.max")), "67108864");
        assert_eq!(read(&made.join("cpu.max")), "150000 100000");
        assert_eq!(read(&made.join("pids.max")), "12");
        fs::write(made.join("memory.events"), "oom 1\noom_kill 0\n").expect("written");
        assert!(!cgroup.out_of_memory());
        fs::write(made.join("memory.events"), "oom 1\noom_kill 2\n").expect("written");
        assert!(cgroup.out_of_memory());
        let nothing = Hierarchy {
            top: top.join("user.slice/session.scope"),
            ..hierarchy
        };
        let error = Cgroup::make_in(&[nothing], &all()).expect_err("no controllers");
        assert!(error.to_string().contains("memory, cpu, pids"), "{error}");
    }

    #[test]
    fn the_cgroups_of_this_machine_are_limited_and_go() {
        let cgroup = Cgroup::make(&all()).expect("made").expect("needed");
        let folders = cgroup.folders.clone();
        let seen: Vec<String> = ["memory.limit_in_bytes", "memory.max", "pids.max"]
            .iter()
            .flat_map(|file| {
                folders
                    .iter()
                    .filter_map(move |folder| fs::read_to_string(folder.join(file)).ok())
            })
            .map(|text| text.trim().to_owned())
            .collect();
        assert_eq!(seen, ["67108864", "12"]);
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("spawned");
        cgroup.take(child.id()).expect("taken");
        let members = folders
            .iter()
            .map(|folder| read(&folder.join("cgroup.procs")));
        let expected = format!("{}\n", child.id());
        assert!(members.into_iter().all(|members| members == expected));
        child.kill().expect("killed");
        child.wait().expect("waited");
        drop(cgroup);
        assert!(folders.iter().all(|folder| !folder.exists()), "{folders:?}");
        assert!(Cgroup::make(&Limits::default()).expect("made").is_none());
    }
}
