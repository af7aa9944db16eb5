//! The node's own processes: this program, called again.
//!
//! ```text
//! up ── detach ── supervise ─┬─ exec REGISTRY       each dies with its parent,
//!                            └─ launch ── init       so all of them with supervise
//! ```

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};

use crate::layout::Layout;
use crate::state::read_json;
use crate::{NodeError, NodeSpec, init, launch, supervise};

/// Which of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Leaves the caller's session, starts `Supervise` and ends, so that nobody has to wait for that.
    Detach,
    /// Owns the networks and keeps registry and machine running.
    Supervise,
    /// Makes the machine's pid namespace.
    Launch,
    /// The machine's pid 1.
    Init,
    /// Becomes another program that dies with its parent.
    Exec,
}

impl Role {
    const ALL: [(&str, Self); 5] = [
        ("detach", Self::Detach),
        ("supervise", Self::Supervise),
        ("launch", Self::Launch),
        ("init", Self::Init),
        ("exec", Self::Exec),
    ];

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, role)| *role == self)
            .map_or("", |(name, _)| name)
    }
}

/// How to call this program in another role, for the node whose data is there.
pub(crate) fn command(role: Role, spec: &NodeSpec) -> Command {
    // Not its path: the program may have been replaced, as every build of tbuild itself does.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(&spec.reexec)
        .arg(role.name())
        .arg(std::process::id().to_string())
        .arg(&spec.data)
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// What the program does when it is called as one of the node's own processes; `arguments` are those that
/// follow [`NodeSpec::reexec`]. Its output goes to a log. It returns when the process is to end.
pub fn internal_main(arguments: &[OsString]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> Result<(), NodeError> {
    let usage = || NodeError::Spec("not called by a node's own process".to_owned());
    let [role, parent, data, rest @ ..] = arguments else {
        return Err(usage());
    };
    let role = Role::ALL.iter().find(|(name, _)| role == name);
    let (_, role) = role.ok_or_else(usage)?;
    let parent: i32 = parent
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(usage)?;
    let layout = Layout::new(Path::new(data));
    let spec: NodeSpec = read_json(&layout.spec())?.ok_or_else(usage)?;
    match role {
        Role::Detach => detach(&spec),
        Role::Supervise => supervise::run(&layout, &spec),
        Role::Launch => {
            die_with(parent)?;
            launch::run(&layout, &spec)
        }
        // Its parent is beyond its pid namespace; it looks after that itself.
        Role::Init => init::run(&layout, &spec),
        Role::Exec => {
            die_with(parent)?;
            let (program, arguments) = rest.split_first().ok_or_else(usage)?;
            let error = Command::new(program).args(arguments).exec();
            Err(NodeError::io("run", Path::new(program))(error))
        }
    }
}

fn detach(spec: &NodeSpec) -> Result<(), NodeError> {
    let program = Path::new("/proc/self/exe");
    setsid().map_err(|errno| NodeError::io("leave the session of", program)(errno.into()))?;
    command(Role::Supervise, spec)
        .spawn()
        .map(|_| ())
        .map_err(NodeError::io("run", program))
}

/// Has the kernel kill this process when the thread that started it ends, which may have happened already.
fn die_with(parent: i32) -> Result<(), NodeError> {
    bind_to_parent()?;
    if getppid() != Pid::from_raw(parent) {
        return Err(NodeError::Spec("the parent process is gone".to_owned()));
    }
    Ok(())
}

/// The first half of [`die_with`], for one that cannot see its parent.
pub(crate) fn bind_to_parent() -> Result<(), NodeError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| NodeError::io("bind to parent", Path::new("/proc/self"))(errno.into()))
}
