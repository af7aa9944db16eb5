//! The parent's side.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tbuild_exec::{
    Action, Cancel, ExecError, Executor, Exit, Limits, Mount, MountSource, OutputSink, Stream,
};

use crate::cgroup::Cgroup;
use crate::process::{Process, Spare};
use crate::protocol::{Failure, MountPoint, Report, Source, Specification};

/// How long until a cancellation is seen.
const TICK: Duration = Duration::from_millis(50);

/// Runs actions in namespaces of their own.
#[derive(Debug, Clone)]
pub struct Sandbox {
    helper: PathBuf,
    crun: Option<PathBuf>,
    spare: Spare,
}

impl Sandbox {
    /// An executor whose helper is the program at `helper`: one whose `main` calls [`crate::helper_main`] when
    /// its first argument is [`HELPER_ARG`].
    pub fn new(helper: PathBuf) -> Self {
        Self {
            helper,
            crun: None,
            spare: Spare::default(),
        }
    }

    /// The same with programs started by the crun at an absolute path.
    #[must_use]
    pub fn through_crun(mut self, crun: PathBuf) -> Self {
        self.crun = Some(crun);
        self
    }

    /// What a step may use, and what is needed to start it.
    fn limits(&self, limits: &Limits) -> Limits {
        let mut limits = limits.clone();
        if self.crun.is_some() {
            // crun is a process, too, until the program has started.
            limits.pids = limits.pids.map(|pids| pids.saturating_add(1));
        }
        limits
    }

    fn setup(&self, what: impl Into<String>, source: io::Error) -> ExecError {
        ExecError::Setup {
            executor: self.name(),
            what: what.into(),
            source,
        }
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

impl Executor for Sandbox {
    fn name(&self) -> &'static str {
        if self.crun.is_some() {
            "crun"
        } else {
            "sandbox"
        }
    }

    fn caveat(&self) -> Option<String> {
        crate::userns::ids().hint()
    }

    fn run(
        &self,
        action: &Action,
        output: &mut OutputSink<'_>,
        cancel: &Cancel,
    ) -> Result<Exit, ExecError> {
        if cancel.is_cancelled() {
            return Err(ExecError::Cancelled);
        }
        let cgroup = Cgroup::make(&self.limits(&action.limits))
            .map_err(|error| self.setup("limit what a step may use", error))?;
        let mut helper = self.spare.get(&self.helper).map_err(|error| {
            self.setup(format!("start its helper {}", self.helper.display()), error)
        })?;
        if let Some(cgroup) = &cgroup {
            cgroup
                .take(helper.child.id())
                .map_err(|error| self.setup("limit what a step may use", error))?;
        }
        let specification = Specification {
            lower: action.lower.clone(),
            upper: action.upper.clone(),
            work: action.work.clone(),
            argv: action.argv.clone(),
            env: action.env.clone(),
            cwd: action.cwd.clone(),
            user: action.user.clone(),
            mounts: action.mounts.iter().map(mount_point).collect(),
            network: action.network,
            hostname: action.hostname.clone(),
            umask: action.umask,
            limits: action.limits.clone(),
            privileged: action.privileged,
            runtime: self.crun.clone(),
        };
        let result = helper
            .control()
            .and_then(|control| specification.send(control))
            .and_then(|()| {
                self.spare.provide(&self.helper);
                talk(&mut helper, output, cancel)
            });
        let waited = helper.end();
        if let (Some(cgroup), Some(limit)) = (&cgroup, action.limits.memory)
            && cgroup.out_of_memory()
        {
            let line =
                format!("out of memory: the limit of {limit} bytes for this step was reached\n");
            output(Stream::Stderr, line.as_bytes());
        }
        let report = result.map_err(|error| self.setup("talk to its helper", error))?;
        if cancel.is_cancelled() {
            return Err(ExecError::Cancelled);
        }
        let failed = |failure: Failure| {
            let source = match failure.said {
                Some(said) => io::Error::other(said),
                None => io::Error::from_raw_os_error(failure.errno),
            };
            (failure.what, source)
        };
        match report {
            Some(Report::Exit(exit)) => Ok(exit),
            Some(Report::Setup(failure)) => {
                let (what, source) = failed(failure);
                Err(self.setup(what, source))
            }
            Some(Report::Start(failure)) => {
                let (program, source) = failed(failure);
                Err(ExecError::Start { program, source })
            }
            None => {
                let status =
                    waited.map_or_else(|error| error.to_string(), |status| status.to_string());
                Err(self.setup(
                    "finish",
                    io::Error::other(format!("its helper ended without a word ({status})")),
                ))
            }
        }
    }
}

/// Passes output on, and waits for the report and the end of all output.
fn talk(
    helper: &mut Process,
    output: &mut OutputSink<'_>,
    cancel: &Cancel,
) -> io::Result<Option<Report>> {
    let (mut stdout, mut stderr) = (helper.child.stdout.take(), helper.child.stderr.take());
    let mut control = helper.control()?;
    let mut answer = Vec::new();
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
            let tick = Timespec {
                tv_sec: 0,
                tv_nsec: TICK.as_nanos() as i64,
            };
            match poll(&mut fds, Some(&tick)) {
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
            let count = control.read(&mut buffer)?;
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
