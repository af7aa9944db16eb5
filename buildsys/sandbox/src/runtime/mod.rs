//! An OCI runtime in place of our own init: the helper's side.
//!
//! The helper forks a keeper into new namespaces. The keeper is process 1 of its pid namespace: it mounts the root,
//! writes the bundle, and says so. The helper, which is outside of that namespace, calls the runtime, `create` and
//! then `start`, and the runtime puts the program into it. As a subreaper the helper becomes the program's parent
//! once the runtime has ended, and so learns how the program ended, signal or status, which the runtime does not
//! tell apart. Then the keeper kills what is left, unmounts, and reports. Everything dies with the keeper, and the
//! keeper with the helper: no state of a runtime is left anywhere.

mod bundle;
mod program;

pub(crate) use bundle::seccomp;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, waitpid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tbuild_exec::Exit;

use crate::fork::{Side, fork, fork_into_pid_namespace, leave};
use crate::helper::{exit_of, report};
use crate::mounts::{BASE, Root, cover, without_devices};
use crate::protocol::{Failure, Reach, Report, Specification, Tried as _};

/// In [`BASE`]: the bundle, the runtime's own state, what it says, the program's process id.
const BUNDLE: &str = "bundle";
const STATE: &str = "state";
const LOG: &str = "log";
const PID_FILE: &str = "pid";
/// The container's name: nothing else is in its state folder.
const NAME: &str = "step";

/// Runs a specification through `runtime`, and kills it all when the other side of `control` closes.
pub(crate) fn supervise(
    specification: &Specification,
    runtime: &Path,
    control: &UnixStream,
) -> Result<(), Failure> {
    let myself = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(myself))
        .tried(|| "become the parent of what runs".to_owned())?;
    let mut flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC;
    flags.set(UnshareFlags::NEWNET, specification.network != Reach::Host);
    crate::fork::unshare(flags).tried(|| "make namespaces".to_owned())?;
    crate::network::make(&specification.network, control)?;
    let (ours, theirs) = UnixStream::pair().tried(|| "make a socket".to_owned())?;
    let keeper = match fork_into_pid_namespace().tried(|| "fork".to_owned())? {
        Side::Child => {
            let _set = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            drop(ours);
            if let Err(failure) = keep(specification, control, &theirs) {
                report(control, &Report::Setup(failure));
            }
            leave(0);
        }
        Side::Parent(keeper) => keeper,
    };
    drop(theirs);
    let calls = Calls {
        runtime,
        control,
        keeper,
    };
    let ran = calls.run(specification, &ours);
    match &ran {
        Ok(Some(exit)) => {
            let mut line = serde_json::to_vec(exit).unwrap_or_default();
            line.push(b'\n');
            // The keeper ends by itself once it has put everything away.
            let _gone = (&ours).write_all(&line);
            if calls
                .wait_for(&[])
                .is_ok_and(|awaited| awaited == Awaited::Closed)
            {
                calls.kill();
            }
        }
        Ok(None) | Err(_) => calls.kill(),
    }
    // Whatever is left has become a child of this process or of the keeper. The kernel lets go of the namespace
    // only when its last process has been waited for.
    while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    ran.map(|_| ())
}

/// The keeper: process 1 of the pid namespace.
fn keep(
    specification: &Specification,
    control: &UnixStream,
    helper: &UnixStream,
) -> Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    crate::fork::ignore_children();
    let root = Root::mount(specification)?;
    if let Err(failure) = program::find(specification, root.path()) {
        report(control, &Report::Start(failure));
        return Ok(());
    }
    // The step's cgroup is made, and entered: a runtime that finds none leaves it at that.
    cover(Path::new("/sys/fs/cgroup"))?;
    // The machine's /proc says what this process is called where the runtime is: here it is number 1.
    let number = std::fs::read_link("/proc/self").tried(|| "look at /proc/self".to_owned())?;
    let pids = Path::new("/proc").join(number).join("ns/pid");
    let spec = bundle::bundle(specification, root.path(), pids)?;
    let folder = Path::new(BASE).join(BUNDLE);
    let written = serde_json::to_vec(&spec)
        .map_err(std::io::Error::from)
        .and_then(|bytes| {
            std::fs::create_dir(&folder)?;
            std::fs::write(folder.join("config.json"), bytes)
        });
    written.tried(|| "write the bundle".to_owned())?;
    let mut line = String::new();
    let mut ready = helper;
    ready
        .write_all(b"\n")
        .and_then(|()| BufReader::new(helper).read_line(&mut line))
        .tried(|| "talk to the helper".to_owned())?;
    crate::fork::kill_all();
    root.clear()?;
    if let Ok(exit) = serde_json::from_str::<Exit>(&line) {
        report(control, &Report::Exit(exit));
    }
    Ok(())
}

/// What ended first.
#[derive(PartialEq, Eq)]
enum Awaited {
    /// The keeper.
    Keeper,
    /// Something else that was waited for.
    Ended,
    /// Nobody wants it any more.
    Closed,
}

/// The helper while a runtime is at work.
struct Calls<'a> {
    runtime: &'a Path,
    control: &'a UnixStream,
    keeper: Pid,
}

impl Calls<'_> {
    /// Has the program created, started and ended. None if it is not wanted any more, or the keeper has reported
    /// what is wrong.
    fn run(
        &self,
        specification: &Specification,
        keeper: &UnixStream,
    ) -> Result<Option<Exit>, Failure> {
        if !self.is_ready(keeper)? {
            return Ok(None);
        }
        let base = Path::new(BASE);
        let (bundle, pid_file) = (base.join(BUNDLE), base.join(PID_FILE));
        let mut create = self.command();
        create.arg("create").arg("--bundle").arg(bundle);
        create.arg("--pid-file").arg(&pid_file).arg(NAME);
        if !self.call(create)? {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&pid_file)
            .tried(|| "read the number of the program's process".to_owned())?;
        let program = text.trim().parse().ok().and_then(Pid::from_raw);
        let program =
            program.ok_or_else(|| Failure::told("find the program's process", text.trim()))?;
        if !specification.privileged {
            shut_out_devices(program)?;
        }
        let ended =
            pidfd_open(program, PidfdFlags::empty()).tried(|| "watch the program".to_owned())?;
        let earlier = said();
        let mut start = self.command();
        start.arg("start").arg(NAME);
        if !self.call(start)? || self.wait_for(&[ended.as_fd()])? != Awaited::Ended {
            return Ok(None);
        }
        let status = waitpid(Some(program), WaitOptions::empty())
            .tried(|| "wait for the program".to_owned())?;
        let status = status.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        // The runtime's own process becomes the program; what it says when it cannot is all there is to know.
        let all = said();
        let said = all.strip_prefix(&earlier).unwrap_or_default();
        match status {
            Some(status) if said.is_empty() || status.success() => Ok(Some(exit_of(status))),
            _ => {
                let program = specification.argv.first().cloned().unwrap_or_default();
                report(
                    self.control,
                    &Report::Start(Failure::told(program, said.trim())),
                );
                Ok(None)
            }
        }
    }

    /// Whether the keeper has said that all is mounted.
    fn is_ready(&self, mut keeper: &UnixStream) -> Result<bool, Failure> {
        if self.wait_for(&[keeper.as_fd()])? != Awaited::Ended {
            return Ok(false);
        }
        let mut byte = [0];
        let count = keeper
            .read(&mut byte)
            .tried(|| "talk to the keeper".to_owned())?;
        Ok(count > 0)
    }

    fn command(&self) -> Command {
        let base = Path::new(BASE);
        let mut command = Command::new(self.runtime);
        command
            .env_clear()
            .arg("--root")
            .arg(base.join(STATE))
            .arg("--log")
            .arg(base.join(LOG))
            .arg("--cgroup-manager=disabled");
        command
    }

    /// Calls the runtime: whether it is still wanted when it has ended well.
    fn call(&self, mut command: Command) -> Result<bool, Failure> {
        let tried = || format!("call {}", self.runtime.display());
        let mut child = command.spawn().tried(tried)?;
        let Some(pid) = Pid::from_raw(child.id() as i32) else {
            return Ok(false);
        };
        let ended = pidfd_open(pid, PidfdFlags::empty()).tried(tried)?;
        if self.wait_for(&[ended.as_fd()])? != Awaited::Ended {
            let _gone = child.kill();
            return Ok(false);
        }
        let status = child.wait().tried(tried)?;
        if status.success() {
            return Ok(true);
        }
        let said = said();
        let said = if said.is_empty() {
            status.to_string()
        } else {
            said.trim().to_owned()
        };
        Err(Failure::told("start a container", said))
    }

    /// Waits for one of `fds`, for the keeper's end, or for the other side to close.
    fn wait_for(&self, fds: &[BorrowedFd<'_>]) -> Result<Awaited, Failure> {
        let watched = || "watch the keeper".to_owned();
        let keeper = pidfd_open(self.keeper, PidfdFlags::empty()).tried(watched)?;
        loop {
            let mut polled: Vec<PollFd<'_>> = fds
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
                .collect();
            polled.push(PollFd::new(&keeper, PollFlags::IN));
            polled.push(PollFd::new(self.control, PollFlags::IN | PollFlags::HUP));
            match poll(&mut polled, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).tried(watched),
            }
            let is = |at: usize| !polled[at].revents().is_empty();
            if (0..fds.len()).any(is) {
                return Ok(Awaited::Ended);
            } else if is(fds.len()) {
                return Ok(Awaited::Keeper);
            } else if is(fds.len() + 1) {
                return Ok(Awaited::Closed);
            }
        }
    }

    /// Kills the keeper, and with it all of its pid namespace.
    fn kill(&self) {
        let _gone = rustix::process::kill_process(self.keeper, Signal::KILL);
    }
}

/// Says once more that no device opens, in the mounts of a program that has not started: runtimes mount the root and
/// /dev anew, and forget it.
fn shut_out_devices(program: Pid) -> Result<(), Failure> {
    let tried = || "shut out devices".to_owned();
    let mounts = std::fs::File::open(format!("/proc/{}/ns/mnt", program.as_raw_nonzero()))
        .tried(|| "find the program's mounts".to_owned())?;
    let child = match fork().tried(tried)? {
        Side::Child => {
            let entered = move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount));
            let done = entered.tried(tried).and_then(|()| {
                ["/", "/dev"]
                    .iter()
                    .try_for_each(|path| without_devices(Path::new(path)))
            });
            leave(done.map_or_else(|failure| failure.errno.max(1), |()| 0));
        }
        Side::Parent(child) => child,
    };
    let status = waitpid(Some(child), WaitOptions::empty()).tried(tried)?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        errno => Err(std::io::Error::from_raw_os_error(
            errno.unwrap_or(libc::EIO),
        ))
        .tried(tried),
    }
}

/// What the runtime has said.
fn said() -> String {
    std::fs::read_to_string(Path::new(BASE).join(LOG)).unwrap_or_default()
}
