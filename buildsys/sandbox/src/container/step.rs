//! The parent's side, for whoever speaks to an engine.

use std::io;
use std::path::{Path, PathBuf};

use tbuild_exec::{Action, Cancel, ExecError, Exit, Network, OutputSink};

use super::Launch;
use crate::parent::{Helper, server, specification};
use crate::protocol::Report;

/// An action that waits for its container, and then runs in it.
#[derive(Debug)]
pub struct Contained {
    helper: Helper,
    launch: Launch,
    network: Network,
}

impl Contained {
    /// Starts the helper, the program at `helper`, which listens in `folder`: an empty one of this action's own that
    /// nobody else may enter. `executor` is a name for messages.
    pub fn begin(
        executor: &'static str,
        helper: &Path,
        action: &Action,
        folder: PathBuf,
    ) -> Result<Self, ExecError> {
        let mut helper = Helper::start(executor, helper)?;
        if action.user_namespace.is_some() {
            return Err(helper.setup("enter a user namespace", io::ErrorKind::Unsupported.into()));
        }
        let mut specification = specification(action);
        specification.container = Some(folder);
        helper.send(&specification)?;
        match helper.hear(&|| true)? {
            Some(Report::Listening(launch)) => Ok(Self {
                helper,
                launch,
                network: action.network.clone(),
            }),
            other => Err(helper.unexpected(other)),
        }
    }

    /// What has to be in the container.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Waits until the container's first process is there, as long as `wanted` says so. Whether it is.
    pub fn joined(&mut self, wanted: &dyn Fn() -> bool) -> Result<bool, ExecError> {
        match self.helper.hear(wanted)? {
            Some(Report::Joined) => Ok(true),
            None => Ok(false),
            other => Err(self.helper.unexpected(other)),
        }
    }

    /// Says that the container is all set, passes the output on and waits for the end, as [`tbuild_exec::Executor::run`] says. The container's
    /// processes are dead then; the container itself is the engine's.
    pub fn finish(
        mut self,
        output: &mut OutputSink<'_>,
        cancel: &Cancel,
    ) -> Result<Exit, ExecError> {
        self.helper.go()?;
        let server = server(&self.network);
        self.helper.finish(server, output, cancel).outcome(cancel)
    }

    /// An error of this step's executor.
    pub fn setup(&self, what: impl Into<String>, source: io::Error) -> ExecError {
        self.helper.setup(what, source)
    }
}
