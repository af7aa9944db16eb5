//! Takes away what a supervisor held, dead or alive. Coming up after a crash and going down are this.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::layout::Layout;
use crate::process::any_named;
use crate::state::{Machine, State, read_json, remove_file};
use crate::{NodeError, cgroup, network, sysctl};

/// How long the kernel may take to end everything.
const DEADLINE: Duration = Duration::from_mins(1);
/// How long the kernel may take to take a dead namespace's links away by itself.
const LINK_GRACE: Duration = Duration::from_secs(5);

/// Ends the supervisor, and with it the registry and the machine; waits for their ends; takes cgroups and links
/// away; gives sysctls back. Leaves the machine's folders.
pub(crate) fn release(layout: &Layout, state: &State) -> Result<(), NodeError> {
    // After another boot none of it is there, and the names may be someone else's.
    if state.is_of_this_boot() {
        end_processes(layout, state)?;
        remove_links(state)?;
        cgroup::remove(&state.cgroups, Instant::now() + DEADLINE)?;
        // Another node's kubelet wants them as they are, and this one's were taken from it.
        if !any_named("kubelet") {
            sysctl::restore(&state.sysctls)?;
        }
    }
    for file in [layout.boot(), layout.machine(), layout.events()] {
        remove_file(&file)?;
    }
    remove_file(&layout.ready())?;
    // Last: until here a second attempt has all it needs.
    remove_file(&layout.state())
}

fn end_processes(layout: &Layout, state: &State) -> Result<(), NodeError> {
    let deadline = Instant::now() + DEADLINE;
    let end = |what: &str, process: crate::process::ProcessId| {
        let left = || NodeError::Left {
            name: state.spec.name.clone(),
            what: format!("{what}, process {}", process.pid()),
        };
        process.kill().map_err(|_| left())?;
        process.wait_dead(deadline).then_some(()).ok_or_else(left)
    };
    end("its supervisor", state.supervisor)?;
    // Read only now: a living supervisor may have started another.
    if let Some(machine) = read_json::<Machine>(&layout.machine())? {
        end("its launcher", machine.launcher)?;
        // A pid 1 ends only after every process of its namespace has.
        end("its pid 1", machine.init)?;
    }
    Ok(())
}

fn remove_links(state: &State) -> Result<(), NodeError> {
    let link = state.spec.link();
    let deadline = Instant::now() + LINK_GRACE;
    while network::link_exists(&link) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    network::remove_link(&link)
}

/// Removes what a node keeps in its data folder, and the folder when nothing else is in it.
pub(crate) fn remove_data(layout: &Layout) -> Result<(), NodeError> {
    for name in Layout::NAMES {
        remove(&layout.data().join(name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), NodeError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(NodeError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
