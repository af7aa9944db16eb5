//! Steps in containers of a Docker Engine on this machine.
//!
//! The engine gives a container of an empty image: its namespaces, its cgroup with the step's limits, capabilities,
//! system call filter, network and name. What the program sees of files is put together by `tbuild_sandbox`'s own
//! code and takes the place of the container's root (its module `container`); so no image is loaded for a step, and
//! the layer is written where every executor writes it. That takes an engine whose processes are this machine's, and
//! root: engines elsewhere, those of an ordinary user and runtimes that are virtual machines are refused.
//!
//! What is ours in the engine has the label [`LABEL`]: a container a step, which the engine removes when it ends, and
//! it ends with us; and one empty image, which goes when the executor does.

mod config;
mod container;
mod empty;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tbuild_exec::{Action, Cancel, ExecError, Executor, Exit, OutputSink};
use tbuild_sandbox::container::Contained;
use tokio::runtime::Runtime;

use crate::{DockerEngine, DockerError};

/// On all that is ours in an engine. Its value on a container is who made it.
pub const LABEL: &str = "tbuild.step";
/// The executor's name.
const NAME: &str = "docker";

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Runs actions in containers.
#[derive(Debug)]
pub struct DockerExecutor {
    engine: DockerEngine,
    helper: PathBuf,
    folder: PathBuf,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl DockerExecutor {
    /// An executor on `engine`, which has to answer. `helper` is a program whose `main` calls
    /// [`tbuild_sandbox::helper_main`] and [`tbuild_sandbox::container::init_main`]; sockets lie in `folder`, which
    /// the engine has to see under that name.
    pub fn new(
        engine: DockerEngine,
        helper: PathBuf,
        folder: PathBuf,
    ) -> Result<Self, DockerError> {
        if !engine.host().starts_with("unix://") {
            return Err(DockerError::Host {
                host: engine.host().to_owned(),
                why: "steps run in an engine on this machine, reached by its socket",
            });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(DockerError::Runtime)?;
        let executor = Self {
            engine,
            helper,
            folder,
            runtime: Some(runtime),
        };
        executor.wait(async {
            executor.engine.ping().await?;
            executor.engine.sweep().await
        })?;
        Ok(executor)
    }

    /// Waits for the engine, on a thread that is not an async one.
    fn wait<T: Send>(
        &self,
        work: impl Future<Output = Result<T, DockerError>> + Send,
    ) -> Result<T, DockerError> {
        let Some(runtime) = &self.runtime else {
            return Err(DockerError::Runtime(io::ErrorKind::NotConnected.into()));
        };
        // Whoever calls may be on an async thread itself, where waiting is not allowed.
        std::thread::scope(
            |scope| match scope.spawn(|| runtime.block_on(work)).join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        )
    }
}

impl Drop for DockerExecutor {
    fn drop(&mut self) {
        // Another one may still use it: then it stays until that one goes.
        let _stays = self.wait(self.engine.remove_empty());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A folder for a step's socket. Dropped, it goes.
struct Folder(PathBuf);

impl Folder {
    fn make(parent: &Path) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = parent.join(format!("tbuild-step-{}-{number}", std::process::id()));
        // Left by a process of the same number that was killed.
        let _none = std::fs::remove_dir_all(&path);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn setup(what: impl Into<String>, source: io::Error) -> ExecError {
    ExecError::Setup {
        executor: NAME,
        what: what.into(),
        source,
    }
}

impl Executor for DockerExecutor {
    fn name(&self) -> &'static str {
        NAME
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
        let asked = |error: DockerError| setup("run the step", io::Error::other(error));
        let folder = Folder::make(&self.folder)
            .map_err(|error| setup(format!("make a folder in {}", self.folder.display()), error))?;
        let mut step = Contained::begin(NAME, &self.helper, action, folder.0.clone())?;
        let body = config::body(action, step.launch(), &folder.0)
            .map_err(|error| setup("describe the container", error))?;
        let container = self
            .wait(container::Container::start(&self.engine, body))
            .map_err(asked)?;
        let joined = step.joined(&|| !cancel.is_cancelled() && !container.is_gone());
        let result = match joined {
            Ok(true) => match self.wait(container.limit(&action.limits)) {
                Ok(()) => step.finish(output, cancel),
                Err(error) => Err(asked(error)),
            },
            Ok(false) if cancel.is_cancelled() => Err(ExecError::Cancelled),
            Ok(false) => {
                let what =
                    "start its own program in a container, which takes an engine of this machine";
                Err(setup(what, io::Error::other(container.said())))
            }
            Err(error) => Err(error),
        };
        // What has not ended by now is ended.
        let removed = self.wait(container.remove(result.is_ok()));
        match (result, removed) {
            (Ok(_), Err(error)) => Err(asked(error)),
            (result, _) => result,
        }
    }
}
