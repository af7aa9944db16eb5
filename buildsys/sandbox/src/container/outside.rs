//! The helper's side: it waits for the init, gives it a root and the program, and tells how that ended.

use std::io::{self, BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::join::{Container, mount_proc};
use super::{Launch, SOCKET};
use crate::helper::{PROTECTED, report, write_oom_score};
use crate::mounts::Root;
use crate::protocol::{Failure, Reach, Report, Specification, Tried as _};

/// Runs a specification in the container whose init connects to the socket in `folder`, and kills it all when the
/// other side of `control` closes.
pub(crate) fn supervise(
    specification: &Specification,
    folder: &Path,
    control: &UnixStream,
) -> Result<(), Failure> {
    rustix::process::umask(Mode::empty());
    let launch = Launch::of_this_process().tried(|| "find this program's files".to_owned())?;
    let path = folder.join(SOCKET);
    let listener =
        UnixListener::bind(&path).tried(|| format!("make the socket {}", path.display()))?;
    report(control, &Report::Listening(launch));
    let init = accept(&listener, control);
    drop(listener);
    // The parent removes it, unless it was killed.
    let _gone = std::fs::remove_dir_all(folder);
    let Some(init) = init? else {
        return Ok(());
    };
    let container = Container::of(&init)?;
    report(control, &Report::Joined);
    if !may_go(control)? {
        return Ok(());
    }
    if specification.limits.memory.is_some() {
        // As with our own init: a process of the program is to be killed, not the one that tells of it.
        let init = container.init().as_raw_nonzero().to_string();
        let _unprotected = write_oom_score(&init, PROTECTED);
    }
    container.enter()?;
    if specification.network != Reach::Host {
        allow_ipv6();
    }
    crate::network::make(&specification.network, control)?;
    let root = Root::mount_with(specification, mount_proc)?;
    container.put(root.path())?;
    hand_over(&init, specification).tried(|| "talk to the container".to_owned())?;
    let last = hear(&init, &container, control)?;
    if let Some(limit) = specification.limits.memory
        && crate::cgroup::out_of_memory(container.init().as_raw_nonzero().get())
    {
        let line = crate::cgroup::out_of_memory_line(limit);
        let _gone = io::stderr().write_all(line.as_bytes());
    }
    // What is left must not keep mounts busy or write any more.
    drop(container);
    drop(init);
    root.clear()?;
    if let Some(last) = last {
        report(control, &last);
    }
    Ok(())
}

/// Waits for the init; none if nobody wants it any more.
fn accept(listener: &UnixListener, control: &UnixStream) -> Result<Option<UnixStream>, Failure> {
    let tried = || "wait for the container".to_owned();
    loop {
        let mut fds = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(control, PollFlags::IN | PollFlags::HUP),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).tried(tried),
        }
        if !fds[1].revents().is_empty() {
            return Ok(None);
        }
        if !fds[0].revents().is_empty() {
            let (init, _) = listener.accept().tried(tried)?;
            return Ok(Some(init));
        }
    }
}

/// Waits for the other side's word that the container is all set.
fn may_go(mut control: &UnixStream) -> Result<bool, Failure> {
    let count = control.read(&mut [0]);
    Ok(count.tried(|| "wait for the engine".to_owned())? > 0)
}

/// The loopback link is to have both families' addresses: engines switch IPv6 off where they have no addresses to give.
fn allow_ipv6() {
    for name in ["all", "default", "lo"] {
        // A kernel without IPv6 has no such file.
        let _without = std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), b"0");
    }
}

/// Gives the init this process's outputs and what it is to start.
fn hand_over(init: &UnixStream, specification: &Specification) -> io::Result<()> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let fds = [stdout.as_fd(), stderr.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(
        init,
        &[IoSlice::new(b"\n")],
        &mut ancillary,
        SendFlags::empty(),
    )?;
    specification.program_alone().send(init)
}

/// What the init says, or none if nobody wants to know any more.
fn hear(
    init: &UnixStream,
    container: &Container,
    control: &UnixStream,
) -> Result<Option<Report>, Failure> {
    let tried = || "hear from the container".to_owned();
    loop {
        let mut fds = [
            PollFd::new(init, PollFlags::IN | PollFlags::HUP),
            PollFd::new(container.ended(), PollFlags::IN),
            PollFd::new(control, PollFlags::IN | PollFlags::HUP),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).tried(tried),
        }
        let is = |at: usize| !fds[at].revents().is_empty();
        if is(2) {
            return Ok(None);
        }
        if is(0) || is(1) {
            // The first line counts: that a program could not be started comes before how its process ended.
            let mut line = String::new();
            BufReader::new(init).read_line(&mut line).tried(tried)?;
            return serde_json::from_str(&line).map(Some).map_err(|_| {
                Failure::told(
                    "finish",
                    "the container ended without a word of the program",
                )
            });
        }
    }
}
