//! Control groups: whether a step's memory, CPU time and processes can be limited.

use std::path::{Path, PathBuf};

use super::Finding;

const ROOT: &str = "/sys/fs/cgroup";
const CHECK: &str = "limits";

/// Makes a group for each controller, and takes it away again.
pub fn limits() -> Finding {
    let remedy = "steps run without limits on memory, CPU and processes; as root, or in a delegated group \
                  (systemd-run --user --scope -p Delegate=yes), they can have them";
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = Path::new(ROOT).join("cgroup.controllers").exists();
    let (version, groups) = if unified {
        ("cgroup v2", vec![group(&own, "", "")])
    } else {
        let controllers = ["memory", "cpu", "pids"];
        (
            "cgroup v1",
            controllers.map(|name| group(&own, name, name)).to_vec(),
        )
    };
    for folder in &groups {
        if let Err(error) = try_out(folder) {
            let text = format!(
                "{version}: cannot make a group in {}: {error}",
                folder.display()
            );
            return Finding::warn(CHECK, text, remedy);
        }
    }
    if unified {
        let file = groups[0].join("cgroup.controllers");
        let there = std::fs::read_to_string(file).unwrap_or_default();
        let lacking: Vec<&str> = ["memory", "cpu", "pids"]
            .into_iter()
            .filter(|name| !there.split_whitespace().any(|have| have == *name))
            .collect();
        if !lacking.is_empty() {
            let text = format!("{version}: no controller for {}", lacking.join(", "));
            return Finding::warn(CHECK, text, remedy);
        }
    }
    Finding::ok(CHECK, format!("{version}, groups can be made"))
}

/// The folder of this process's group of a controller, by /proc/self/cgroup (cgroups(7)).
fn group(own: &str, controller: &str, mount: &str) -> PathBuf {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let names = fields.nth(1)?;
        let path = fields.next()?;
        names
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    let mount = Path::new(ROOT).join(mount);
    let folder = mount.join(path.unwrap_or("/").trim_start_matches('/'));
    // In a container the path may be one of the machine's, and only the mount is there.
    if folder.is_dir() { folder } else { mount }
}

fn try_out(folder: &Path) -> std::io::Result<()> {
    let name = format!("tbuild-doctor-{}", std::process::id());
    std::fs::create_dir(folder.join(&name))?;
    std::fs::remove_dir(folder.join(&name))
}
