//! A container as its first process shows it: its namespaces entered, its root put in place, its end.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, move_mount, open_tree, unmount,
};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::FOLDER;
use crate::fork::{Side, fork, leave};
use crate::mounts::BASE;
use crate::protocol::{Failure, Tried as _};

/// In [`BASE`]: where the processes' numbers are counted.
const NUMBERS: &str = "numbers";

/// A running container. Dropped, all of it is dead.
pub(super) struct Container {
    init: Pid,
    ended: OwnedFd,
}

impl Container {
    /// The one whose init is at the other end of `socket`.
    pub(super) fn of(socket: &UnixStream) -> Result<Self, Failure> {
        // Of a process that cannot be seen from here the kernel says 0, which is an error.
        let peer = rustix::net::sockopt::socket_peercred(socket).map_err(|_| unseen())?;
        let init = peer.pid;
        let ended = pidfd_open(init, PidfdFlags::empty())
            .tried(|| "watch the container's process".to_owned())?;
        Ok(Self { init, ended })
    }

    /// Becomes readable when the init has ended.
    pub(super) fn ended(&self) -> &OwnedFd {
        &self.ended
    }

    /// The init's number.
    pub(super) fn init(&self) -> Pid {
        self.init
    }

    fn namespace(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{name}", self.init.as_raw_nonzero()))
    }

    /// Enters the namespaces that decide what a mounted /proc, /sys and /dev/mqueue show, and a mount namespace of
    /// this process's own. Of the pid namespace only children are.
    pub(super) fn enter(&self) -> Result<(), Failure> {
        let same = |name: &str| {
            let own = rustix::fs::stat(format!("/proc/self/ns/{name}"))?;
            Ok::<_, rustix::io::Errno>(own.st_ino == rustix::fs::stat(self.namespace(name))?.st_ino)
        };
        if !same("user").tried(|| "look at the container's user namespace".to_owned())? {
            let why = "its users are not this machine's (userns-remap, or an engine without root)";
            return Err(Failure::told("use this engine", why));
        }
        for (name, kind) in [
            ("pid", LinkNameSpaceType::ProcessID),
            ("net", LinkNameSpaceType::Network),
            ("ipc", LinkNameSpaceType::InterProcessCommunication),
        ] {
            let tried = || format!("enter the container's {name} namespace");
            let namespace = File::open(self.namespace(name)).tried(tried)?;
            move_into_link_name_space(namespace.as_fd(), Some(kind)).tried(tried)?;
        }
        crate::fork::unshare(UnshareFlags::NEWNS).tried(|| "make a mount namespace".to_owned())
    }

    /// Makes `root`, with all that is mounted in it, the root of the container, in the place of what it had. The
    /// next process of the container is its second one.
    pub(super) fn put(&self, root: &Path) -> Result<(), Failure> {
        let mounts =
            File::open(self.namespace("mnt")).tried(|| "find the container's mounts".to_owned())?;
        in_child(|| {
            let count = count();
            let tried = || "change the container's root".to_owned();
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::AT_RECURSIVE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = open_tree(CWD, root, flags).tried(|| "copy the root".to_owned())?;
            move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
                .tried(|| "enter the container's mount namespace".to_owned())?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(&tree, "", CWD, FOLDER, flags).tried(tried)?;
            std::env::set_current_dir(FOLDER).tried(tried)?;
            rustix::process::pivot_root(".", ".").tried(tried)?;
            unmount(".", UnmountFlags::DETACH).tried(tried)?;
            if let Some(file) = count {
                // A kernel that cannot count anew (CONFIG_CHECKPOINT_RESTORE) goes on.
                let _goes_on = rustix::io::write(file, b"1");
            }
            Ok(())
        })
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // With its first process all of a pid namespace dies, and that one ends after all others.
        let _gone = pidfd_send_signal(&self.ended, Signal::KILL);
        loop {
            let mut fds = [PollFd::new(&self.ended, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn unseen() -> Failure {
    let why =
        "its processes cannot be seen from here: they are of another machine or pid namespace";
    Failure::told("use this engine", why)
}

/// The file that holds the number of the pid namespace's last process (proc(5)), for a child of this process.
fn count() -> Option<OwnedFd> {
    let folder = Path::new(BASE).join(NUMBERS);
    std::fs::create_dir(&folder).ok()?;
    mount("proc", &folder, "proc", MountFlags::empty(), None).ok()?;
    let file = rustix::fs::open(
        folder.join("sys/kernel/ns_last_pid"),
        rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    unmount(&folder, UnmountFlags::DETACH).ok()?;
    file.ok()
}

/// Mounts /proc from inside the pid namespace that children are in.
pub(super) fn mount_proc(target: &Path, flags: MountFlags) -> rustix::io::Result<()> {
    let mounted =
        in_child(|| mount("proc", target, "proc", flags, None).tried(|| "mount /proc".to_owned()));
    mounted.map_err(|failure| rustix::io::Errno::from_raw_os_error(failure.errno))
}

/// Does something in a child of this process; of what fails there only errno is told.
fn in_child(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let tried = || "enter the container".to_owned();
    let child = match fork().tried(tried)? {
        Side::Child => leave(work().map_or_else(|failure| failure.errno.max(1), |()| 0)),
        Side::Parent(child) => child,
    };
    let status = waitpid(Some(child), WaitOptions::empty()).tried(tried)?;
    match status.and_then(|(_, status)| status.exit_status()) {
        Some(0) => Ok(()),
        errno => Err(Failure::new(tried(), errno.unwrap_or(libc::EIO))),
    }
}
