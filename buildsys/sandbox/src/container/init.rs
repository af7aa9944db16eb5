//! The container's first process.

use std::io::{self, BufReader, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, WaitOptions, pidfd_open};

use super::{FOLDER, SOCKET};
use crate::fork::{Side, fork, leave};
use crate::helper::{exit_of, program, report};
use crate::protocol::{Failure, Report, Specification, Tried as _};

/// How long a process without a parent may wait to be reaped, in nanoseconds.
const TICK: i64 = 50_000_000;

/// What the program does when it is called with [`super::INIT_ARG`], in a container. To be called first of all in
/// `main`, while the process has one thread.
pub fn init_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The engine hands this to whoever waits for the container.
            let _gone = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    // A program may have all the rights that this process has, and shall not look into it: it is the machine's file.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let mut helper = UnixStream::connect(format!("{FOLDER}/{SOCKET}"))?;
    // This waits until the root is the step's.
    let [stdout, stderr] = outputs(&helper)?;
    rustix::stdio::dup2_stdout(&stdout)?;
    rustix::stdio::dup2_stderr(&stderr)?;
    drop((stdout, stderr));
    crate::fork::close_on_exec_from(3)?;
    let specification = Specification::receive(BufReader::new(&helper))?;
    if let Err(failure) = run(&specification, &helper) {
        report(&helper, &Report::Setup(failure));
    }
    // The helper closes when it has heard, or kills.
    let _closed = helper.read(&mut [0]);
    Ok(())
}

/// The program's outputs, which come with one byte.
fn outputs(helper: &UnixStream) -> io::Result<[OwnedFd; 2]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        helper,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        flags,
    )?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    fds.try_into()
        .map_err(|_| io::Error::other("nothing is to be run any more"))
}

/// Starts the program, waits for it, and tells how it ended. If nobody is there to be told, it just returns.
fn run(specification: &Specification, helper: &UnixStream) -> Result<(), Failure> {
    let program = match fork().tried(|| "fork".to_owned())? {
        Side::Child => {
            match program(specification, &[], None) {
                Ok(never) => match never {},
                Err((failure, true)) => report(helper, &Report::Start(failure)),
                Err((failure, false)) => report(helper, &Report::Setup(failure)),
            }
            leave(127);
        }
        Side::Parent(program) => program,
    };
    if let Some(status) = reap(program, helper)? {
        crate::fork::kill_all();
        report(helper, &Report::Exit(exit_of(status)));
    }
    Ok(())
}

/// Waits for every child, as an init must, until the program itself has ended; none if the helper is gone first.
fn reap(program: Pid, helper: &UnixStream) -> Result<Option<ExitStatus>, Failure> {
    let watched = || "wait for the program".to_owned();
    let ended = pidfd_open(program, PidfdFlags::empty()).tried(watched)?;
    let tick = Timespec {
        tv_sec: 0,
        tv_nsec: TICK,
    };
    loop {
        let mut fds = [
            PollFd::new(&ended, PollFlags::IN),
            PollFd::from_borrowed_fd(helper.as_fd(), PollFlags::IN | PollFlags::HUP),
        ];
        match poll(&mut fds, Some(&tick)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).tried(watched),
        }
        if !fds[1].revents().is_empty() {
            return Ok(None);
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == program {
                return Ok(Some(ExitStatus::from_raw(status.as_raw())));
            }
        }
    }
}
