//! A helper as its parent sees it: started, told what to do, listened to.

use std::io::{self, Read, Write as _};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tbuild_exec::{
    Action, Cancel, ExecError, Exit, Mount, MountSource, Network, OutputSink, Serve, Stream,
};

use crate::process::Process;
use crate::protocol::{Failure, MountPoint, Reach, Report, Source, Specification};

/// How long until a cancellation is seen.
const TICK: Duration = Duration::from_millis(50);

fn tick() -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: TICK.as_nanos() as i64,
    }
}

fn mount_point(mount: &Mount) -> MountPoint {
    let source = match &mount.source {
        MountSource::Bind(path) => Source::Bind(path.clone()),
        MountSource::Content {
            bytes,
            mode,
            uid,
            gid,
        } => Source::Content {
            bytes: bytes.clone(),
            mode: *mode,
            uid: *uid,
            gid: *gid,
        },
        MountSource::Tmpfs { size } => Source::Tmpfs { size: *size },
        MountSource::Layers {
            lower,
            path,
            writes,
        } => Source::Layers {
            lower: lower.clone(),
            path: path.clone(),
            writes: writes
                .as_ref()
                .map(|writes| (writes.upper.clone(), writes.work.clone())),
        },
    };
    MountPoint {
        target: mount.target.clone(),
        read_only: mount.read_only,
        source,
    }
}

/// What network the helper makes.
fn reach(network: &Network) -> Reach {
    match network {
        Network::None => Reach::Loopback(Vec::new()),
        Network::Host => Reach::Host,
        Network::Served(server) => Reach::Loopback(server.ports()),
    }
}

/// Who serves the sockets of a network.
pub(crate) fn server(network: &Network) -> Option<&dyn Serve> {
    match network {
        Network::Served(server) => Some(&**server),
        Network::None | Network::Host => None,
    }
}

/// What a helper is to do for an action in namespaces of its own.
pub(crate) fn specification(action: &Action) -> Specification {
    Specification {
        lower: action.lower.clone(),
        upper: action.upper.clone(),
        work: action.work.clone(),
        argv: action.argv.clone(),
        env: action.env.clone(),
        cwd: action.cwd.clone(),
        user: action.user.clone(),
        mounts: action.mounts.iter().map(mount_point).collect(),
        network: reach(&action.network),
        hostname: action.hostname.clone(),
        umask: action.umask,
        limits: action.limits.clone(),
        privileged: action.privileged,
        user_namespace: action.user_namespace.clone(),
        runtime: None,
        container: None,
    }
}

/// A helper at work. Once it is dropped, or this process dies, all that it runs is killed.
#[derive(Debug)]
pub(crate) struct Helper {
    executor: &'static str,
    process: Process,
    /// What it has said and nobody has heard yet.
    said: Vec<u8>,
}

/// How a helper ended.
pub(crate) struct Ended {
    executor: &'static str,
    report: io::Result<Option<Report>>,
    waited: io::Result<ExitStatus>,
}

impl Helper {
    /// The helper that is a process.
    pub(crate) fn new(executor: &'static str, process: Process) -> Self {
        Self {
            executor,
            process,
            said: Vec::new(),
        }
    }

    /// Starts the program at `helper` as one.
    pub(crate) fn start(executor: &'static str, helper: &Path) -> Result<Self, ExecError> {
        let process = Process::start(helper).map_err(|error| {
            let what = format!("start its helper {}", helper.display());
            setup(executor, what, error)
        })?;
        Ok(Self::new(executor, process))
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.child.id()
    }

    /// Tells it what to do.
    pub(crate) fn send(&mut self, specification: &Specification) -> Result<(), ExecError> {
        let control = self.process.control();
        control
            .and_then(|control| specification.send(control))
            .map_err(|error| self.setup("talk to its helper", error))
    }

    /// Tells it to go on.
    pub(crate) fn go(&mut self) -> Result<(), ExecError> {
        let control = self.process.control();
        control
            .and_then(|mut control| control.write_all(b"\n"))
            .map_err(|error| self.setup("talk to its helper", error))
    }

    /// Waits for its next report, before there is any output; none once it is not `wanted` any more, or gone.
    pub(crate) fn hear(&mut self, wanted: &dyn Fn() -> bool) -> Result<Option<Report>, ExecError> {
        let heard = self.next(wanted);
        heard.map_err(|error| self.setup("talk to its helper", error))
    }

    fn next(&mut self, wanted: &dyn Fn() -> bool) -> io::Result<Option<Report>> {
        let mut control = self.process.control()?;
        loop {
            if let Some(end) = self.said.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.said.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if !wanted() {
                return Ok(None);
            }
            let mut fds = [PollFd::new(control, PollFlags::IN)];
            match poll(&mut fds, Some(&tick())) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            if !fds[0].revents().is_empty() {
                let mut buffer = [0; 4096];
                match control.read(&mut buffer)? {
                    0 => return Ok(None),
                    count => self.said.extend_from_slice(&buffer[..count]),
                }
            }
        }
    }

    /// What a report means that is not the one that was waited for.
    pub(crate) fn unexpected(&self, report: Option<Report>) -> ExecError {
        match report {
            Some(Report::Setup(failure)) => {
                let (what, source) = failed(failure);
                self.setup(what, source)
            }
            _ => self.setup("go on", io::Error::other("its helper ended without a word")),
        }
    }

    pub(crate) fn setup(&self, what: impl Into<String>, source: io::Error) -> ExecError {
        setup(self.executor, what, source)
    }

    /// Hands the action's sockets to who serves them, passes all output on, and waits for the last report and the
    /// helper's end.
    pub(crate) fn finish(
        mut self,
        server: Option<&dyn Serve>,
        output: &mut OutputSink<'_>,
        cancel: &Cancel,
    ) -> Ended {
        let said = std::mem::take(&mut self.said);
        let report = listen(&mut self.process, said, server, output, cancel);
        Ended {
            executor: self.executor,
            report,
            waited: self.process.end(),
        }
    }
}

impl Ended {
    /// How the program ended, or why it did not run.
    pub(crate) fn outcome(self, cancel: &Cancel) -> Result<Exit, ExecError> {
        let fail = |what: String, source| Err(setup(self.executor, what, source));
        let report = self
            .report
            .map_err(|error| setup(self.executor, "talk to its helper", error))?;
        if cancel.is_cancelled() {
            return Err(ExecError::Cancelled);
        }
        match report {
            Some(Report::Exit(exit)) => Ok(exit),
            Some(Report::Setup(failure)) => {
                let (what, source) = failed(failure);
                fail(what, source)
            }
            Some(Report::Start(failure)) => {
                let (program, source) = failed(failure);
                Err(ExecError::Start { program, source })
            }
            Some(Report::Listening(_) | Report::Joined) | None => {
                let status = self
                    .waited
                    .map_or_else(|error| error.to_string(), |status| status.to_string());
                let why = format!("its helper ended without a word ({status})");
                fail("finish".to_owned(), io::Error::other(why))
            }
        }
    }
}

fn setup(executor: &'static str, what: impl Into<String>, source: io::Error) -> ExecError {
    ExecError::Setup {
        executor,
        what: what.into(),
        source,
    }
}

fn failed(failure: Failure) -> (String, io::Error) {
    let source = match failure.said {
        Some(said) => io::Error::other(said),
        None => io::Error::from_raw_os_error(failure.errno),
    };
    (failure.what, source)
}

/// Hands sockets on, passes output on, and waits for the report and the end of all output.
fn listen(
    helper: &mut Process,
    mut answer: Vec<u8>,
    server: Option<&dyn Serve>,
    output: &mut OutputSink<'_>,
    cancel: &Cancel,
) -> io::Result<Option<Report>> {
    let (mut stdout, mut stderr) = (helper.child.stdout.take(), helper.child.stderr.take());
    let control = helper.control()?;
    let mut answering = true;
    let mut buffer = vec![0; 64 << 10];
    while stdout.is_some() || stderr.is_some() || answering {
        if cancel.is_cancelled() {
            return Ok(None);
        }
        let (mut out, mut err, mut ctl) = (false, false, false);
        {
            let mut fds = Vec::with_capacity(3);
            let mut flags = Vec::with_capacity(3);
            if let Some(pipe) = &stdout {
                fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
                flags.push(&mut out);
            }
            if let Some(pipe) = &stderr {
                fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
                flags.push(&mut err);
            }
            if answering {
                fds.push(PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN));
                flags.push(&mut ctl);
            }
            match poll(&mut fds, Some(&tick())) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for (fd, flag) in fds.iter().zip(flags) {
                *flag = !fd.revents().is_empty();
            }
        }
        if out && !pass(&mut stdout, Stream::Stdout, &mut buffer, output)? {
            stdout = None;
        }
        if err && !pass(&mut stderr, Stream::Stderr, &mut buffer, output)? {
            stderr = None;
        }
        if ctl {
            let (count, mut sockets) = crate::network::receive(control, &mut buffer)?;
            if let (Some(server), false) = (server, sockets.is_empty()) {
                let ports = server.ports().len().min(sockets.len());
                let counters = sockets.split_off(ports).pop();
                server.serve(sockets)?;
                if let Some(counters) = counters {
                    server.counters(counters.into());
                }
            }
            answer.extend_from_slice(&buffer[..count]);
            answering = count > 0;
        }
    }
    // The program's own failure to start comes before the init's report of how it ended.
    let first = answer
        .split(|byte| *byte == b'\n')
        .find(|line| !line.is_empty());
    first
        .map(serde_json::from_slice)
        .transpose()
        .map_err(io::Error::from)
}

/// Passes on what a pipe has; whether it may have more.
fn pass(
    pipe: &mut Option<impl Read>,
    stream: Stream,
    buffer: &mut [u8],
    output: &mut OutputSink<'_>,
) -> io::Result<bool> {
    let Some(pipe) = pipe else { return Ok(false) };
    let count = match pipe.read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        read => read?,
    };
    if count > 0 {
        output(stream, &buffer[..count]);
    }
    Ok(count > 0)
}
