//! Makes the machine's pid namespace and waits for its pid 1, which makes the rest: a mount namespace that the
//! two shared would have its root changed under this process too.

use std::path::Path;
use std::process::Stdio;

use rustix::thread::UnshareFlags;

use crate::internal::{self, Role};
use crate::layout::Layout;
use crate::process::ProcessId;
use crate::state::{Machine, write_json};
use crate::{NodeError, NodeSpec, cgroup, network};

/// A process of its own, since only a process with one thread may make a pid namespace; already in the
/// machine's network namespace.
pub(crate) fn run(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    let own = Path::new("/proc/self");
    cgroup::enter(&cgroup::folders(&spec.cgroup())?)?;
    network::unshare(UnshareFlags::NEWPID).map_err(NodeError::io("make namespaces for", own))?;
    // The pipe tells pid 1, which cannot see this process, whether it is alive.
    let mut init = internal::command(Role::Init, spec)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(NodeError::io("start init of", own))?;
    let started = |pid| {
        ProcessId::of(pid).ok_or_else(|| NodeError::Command {
            command: "init".to_owned(),
            output: "ended at once".to_owned(),
        })
    };
    let machine = Machine {
        launcher: started(std::process::id() as i32)?,
        init: started(init.id() as i32)?,
    };
    write_json(&layout.machine(), &machine)?;
    // Not `Child::wait`, which would close the pipe.
    let alive = init.stdin.take();
    let status = init
        .wait()
        .map_err(NodeError::io("wait for init of", own))?;
    drop(alive);
    if status.success() {
        return Ok(());
    }
    Err(NodeError::Command {
        command: "init".to_owned(),
        output: status.to_string(),
    })
}
