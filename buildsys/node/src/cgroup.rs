//! The machine's folders in the cgroup hierarchies, version 1 or 2 (cgroups(7)).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::NodeError;

const ROOT: &str = "/sys/fs/cgroup";
/// The child of a version 2 folder that holds containerd, kubelet and init: a folder with children that have
/// controllers may hold no process itself (cgroups(7), "no internal processes").
const MACHINE: &str = "machine";

/// The folders that a node named `name` has: one in each hierarchy where the machine has
/// version 1, or one alone where the whole machine has version 2.
pub(crate) fn folders(name: &str) -> Result<Vec<PathBuf>, NodeError> {
    let root = Path::new(ROOT);
    if is_unified() {
        return Ok(vec![root.join(name)]);
    }
    let mounts = Path::new("/proc/self/mounts");
    let table = fs::read_to_string(mounts).map_err(NodeError::io("read", mounts))?;
    let mut folders: Vec<_> = hierarchies(&table)
        .into_iter()
        .map(|hierarchy| hierarchy.join(name))
        .collect();
    folders.sort();
    folders.dedup();
    if folders.is_empty() {
        return Err(NodeError::Missing {
            what: format!("a cgroup hierarchy under {ROOT}"),
            remedy: "mount cgroup2, or the cgroup version 1 controllers, there".to_owned(),
        });
    }
    Ok(folders)
}

/// Mount points of hierarchies below the root in a `/proc/self/mounts` table.
fn hierarchies(table: &str) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let mount_point = fields.nth(1)?;
            // A version 2 hierarchy beside them has no controllers, and runc keeps folders there all the same.
            (matches!(fields.next()?, "cgroup" | "cgroup2") && mount_point.starts_with(ROOT))
                .then(|| PathBuf::from(mount_point))
        })
        .collect()
}

fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Makes the folders.
pub(crate) fn make(folders: &[PathBuf]) -> Result<(), NodeError> {
    for folder in folders {
        fs::create_dir_all(folder).map_err(NodeError::io("make cgroup", folder))?;
        if is_unified() {
            let parent = folder.parent().unwrap_or(folder);
            enable_controllers(parent)?;
            enable_controllers(folder)?;
            let machine = folder.join(MACHINE);
            fs::create_dir_all(&machine).map_err(NodeError::io("make cgroup", &machine))?;
        } else if folder.join("cpuset.cpus").exists() {
            // A new cpuset is empty, and one without processors and memory takes no process.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                copy_setting(folder, file)?;
            }
        }
    }
    Ok(())
}

fn copy_setting(folder: &Path, file: &str) -> Result<(), NodeError> {
    let parent = folder.parent().unwrap_or(folder).join(file);
    let value = fs::read_to_string(&parent).map_err(NodeError::io("read", &parent))?;
    let own = folder.join(file);
    fs::write(&own, value.trim()).map_err(NodeError::io("write", &own))
}

/// Hands every controller of a version 2 folder to its children.
fn enable_controllers(folder: &Path) -> Result<(), NodeError> {
    let available = folder.join("cgroup.controllers");
    let names = fs::read_to_string(&available).map_err(NodeError::io("read", &available))?;
    let control = folder.join("cgroup.subtree_control");
    for name in names.split_whitespace() {
        fs::write(&control, format!("+{name}")).map_err(NodeError::io("write", &control))?;
    }
    Ok(())
}

/// Moves the calling process out of the caller's session, whose end might take it along, where the hierarchy
/// has a place for it. With version 1 it stays where it is: kubelet counts nothing but pods there.
pub(crate) fn enter(folders: &[PathBuf]) -> Result<(), NodeError> {
    if is_unified() {
        for folder in folders {
            let procs = folder.join(MACHINE).join("cgroup.procs");
            fs::write(&procs, "0").map_err(NodeError::io("write", &procs))?;
        }
    }
    Ok(())
}

/// Takes the folders away with all that the machine made in them. Their processes are dead or about to be.
pub(crate) fn remove(folders: &[PathBuf], deadline: Instant) -> Result<(), NodeError> {
    for folder in folders {
        loop {
            match remove_tree(folder) {
                Ok(()) => break,
                Err(error) if Instant::now() > deadline => {
                    return Err(NodeError::io("remove cgroup", folder)(error));
                }
                // A process that was just killed still counts for a moment.
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
    Ok(())
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_elsewhere_are_not_listed() {
        let table = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                     cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                     cgroup /elsewhere cgroup rw 0 0\n\
                     tmpfs /sys/fs/cgroup tmpfs rw 0 0\n";
        let expected = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"];
        assert_eq!(hierarchies(table), expected.map(PathBuf::from));
    }
}
