//! An SSH agent's socket for one step: one of its own, with the owner that the step asks for, whose connections
//! are passed on to the agent.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::PipeFlags;

/// A socket that is served until this is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    folder: tempfile::TempDir,
    /// Closed to end the service.
    stop: Option<std::os::fd::OwnedFd>,
    service: Option<JoinHandle<()>>,
}

const NAME: &str = "agent";

impl Forward {
    /// Serves the agent at `agent` on a new socket.
    pub(crate) fn start(agent: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<Self> {
        // A connection now says more clearly than a step's client what is wrong with the agent.
        drop(UnixStream::connect(agent)?);
        let folder = tempfile::Builder::new().prefix("tbuild-ssh-").tempdir()?;
        let path = folder.path().join(NAME);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
        let (ended, stop) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let agent = agent.to_owned();
        let service = std::thread::Builder::new()
            .name("ssh-agent".to_owned())
            .spawn(move || serve(&listener, &ended, &agent))?;
        Ok(Self {
            folder,
            stop: Some(stop),
            service: Some(service),
        })
    }

    /// The socket.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(NAME)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(service) = self.service.take() {
            // It has ended, whichever way.
            let _ended = service.join();
        }
    }
}

fn serve(listener: &UnixListener, ended: &std::os::fd::OwnedFd, agent: &Path) {
    loop {
        let mut fds = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::new(ended, PollFlags::IN),
        ];
        if poll(&mut fds, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            return;
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        // A client that went away again, or an agent that did: the client sees its connection closed.
        if let (Ok((client, _)), Ok(agent)) = (listener.accept(), UnixStream::connect(agent)) {
            // Both ends close when the step's processes are dead: the threads end by themselves.
            let _started = std::thread::Builder::new().spawn(move || pass(&client, &agent));
        }
    }
}

/// Passes bytes on both ways until one side has closed.
fn pass(client: &UnixStream, agent: &UnixStream) {
    let both = [(client, agent), (agent, client)];
    let mut buffer = vec![0; 16 << 10];
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(client.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(agent.as_fd(), PollFlags::IN),
        ];
        if poll(&mut fds, None).is_err_and(|error| error != rustix::io::Errno::INTR) {
            break;
        }
        let ready = fds.map(|fd| !fd.revents().is_empty());
        for ((mut from, mut to), _) in both.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            use io::{Read as _, Write as _};
            let count = from.read(&mut buffer).unwrap_or(0);
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                let _closed = client.shutdown(Shutdown::Both);
                let _closed = agent.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
