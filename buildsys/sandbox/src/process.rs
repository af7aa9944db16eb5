//! A helper's process, which may be started before it is wanted.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::protocol::HELPER_ARG;

/// A helper that waits for a specification, or works on one. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    /// Both pipes of the program's output are in it until they are taken.
    pub child: Child,
    /// None once it is closed.
    control: Option<UnixStream>,
}

impl Process {
    /// Starts the program at `program` as one.
    pub(crate) fn start(program: &Path) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(program)
            .arg(HELPER_ARG)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        Ok(Self {
            child,
            control: Some(ours),
        })
    }

    /// Where the specification goes and the report comes from.
    pub(crate) fn control(&self) -> io::Result<&UnixStream> {
        let closed = || io::Error::from(io::ErrorKind::NotConnected);
        self.control.as_ref().ok_or_else(closed)
    }

    /// Has it kill whatever of the action is still there, and waits for its end.
    pub(crate) fn end(&mut self) -> io::Result<ExitStatus> {
        self.control = None;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.end();
    }
}

/// One helper more than is at work: starting a program of this size takes a good part of what an empty step does, and
/// need not be waited for. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spare(Arc<Mutex<Option<Process>>>);

impl Spare {
    fn take(&self) -> Option<Process> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The spare one, or a new one.
    pub(crate) fn get(&self, program: &Path) -> io::Result<Process> {
        if let Some(mut spare) = self.take()
            && matches!(spare.child.try_wait(), Ok(None))
        {
            return Ok(spare);
        }
        Process::start(program)
    }

    /// Starts one for whoever comes next, unless there is one. What goes wrong is for them to find out.
    pub(crate) fn provide(&self, program: &Path) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.is_none() {
            *spare = Process::start(program).ok();
        }
    }
}
