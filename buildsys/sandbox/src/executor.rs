//! The parent's side.

use std::io;
use std::path::PathBuf;

use tbuild_exec::{Action, Cancel, ExecError, Executor, Exit, Limits, OutputSink, Stream};

use crate::cgroup::{Cgroup, out_of_memory_line};
use crate::parent::{Helper, server, specification};
use crate::process::Spare;

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
        if self.crun.is_some() && action.user_namespace.is_some() {
            return Err(self.setup("enter a user namespace", io::ErrorKind::Unsupported.into()));
        }
        let cgroup = Cgroup::make(&self.limits(&action.limits))
            .map_err(|error| self.setup("limit what a step may use", error))?;
        let process = self.spare.get(&self.helper).map_err(|error| {
            self.setup(format!("start its helper {}", self.helper.display()), error)
        })?;
        let mut helper = Helper::new(self.name(), process);
        if let Some(cgroup) = &cgroup {
            cgroup
                .take(helper.process())
                .map_err(|error| self.setup("limit what a step may use", error))?;
        }
        let mut specification = specification(action);
        specification.runtime.clone_from(&self.crun);
        helper.send(&specification)?;
        self.spare.provide(&self.helper);
        let ended = helper.finish(server(&action.network), output, cancel);
        if let (Some(cgroup), Some(limit)) = (&cgroup, action.limits.memory)
            && cgroup.out_of_memory()
        {
            output(Stream::Stderr, out_of_memory_line(limit).as_bytes());
        }
        ended.outcome(cancel)
    }
}
