//! What a node does.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tbuild_exec::{Cancel, Stream};
use tbuild_graph::{KeyManifest, NodeKind};
use tbuild_store::Store;

use crate::{Event, EventSink};

/// A node's output while tbuild runs: a value of the op's own making that ops after it know how to read.
#[derive(Clone)]
pub struct Output(Arc<dyn Any + Send + Sync>);

impl Output {
    /// Wraps a value.
    pub fn new<T: Any + Send + Sync>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// The value, if it is a `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(&self.0).downcast().ok()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// Why a node failed.
#[derive(Debug, thiserror::Error)]
pub enum OpError {
    /// A step, a release or a task failed by its own doing (exit code 1).
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
        /// What may help.
        hints: Vec<String>,
    },
    /// What the user wrote is wrong (exit code 2).
    #[error("{message}")]
    Usage {
        /// What is wrong, with its span rendered if there is one.
        message: String,
        /// What may help.
        hints: Vec<String>,
    },
    /// A registry, a cluster, an engine or a program is out of reach (exit code 3).
    #[error("{message}")]
    Unreachable {
        /// What.
        message: String,
        /// What may help.
        hints: Vec<String>,
    },
    /// A lock or reproducibility check failed (exit code 4).
    #[error("{message}")]
    Lock {
        /// What.
        message: String,
        /// What may help.
        hints: Vec<String>,
    },
    /// No longer wanted.
    #[error("cancelled")]
    Cancelled,
    /// Anything else: a defect, or a machine in trouble (exit code 70).
    #[error("{message}")]
    Internal {
        /// What.
        message: String,
    },
}

/// The message of an error and of all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl OpError {
    /// A failure by the node's own doing.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        Self::Failed {
            message: chain(error),
            hints: Vec::new(),
        }
    }

    /// A failure by the node's own doing, in words.
    pub fn failed_text(message: impl Into<String>) -> Self {
        Self::Failed {
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// Something out of reach.
    pub fn unreachable(error: &dyn std::error::Error) -> Self {
        Self::Unreachable {
            message: chain(error),
            hints: Vec::new(),
        }
    }

    /// A wrong input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage {
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// A defect or a machine in trouble.
    pub fn internal(error: &dyn std::error::Error) -> Self {
        Self::Internal {
            message: chain(error),
        }
    }

    /// Adds a hint where the kind has room for one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        match &mut self {
            Self::Failed { hints, .. }
            | Self::Usage { hints, .. }
            | Self::Unreachable { hints, .. }
            | Self::Lock { hints, .. } => hints.push(hint.into()),
            Self::Cancelled | Self::Internal { .. } => {}
        }
        self
    }

    /// The hints.
    pub fn hints(&self) -> &[String] {
        match self {
            Self::Failed { hints, .. }
            | Self::Usage { hints, .. }
            | Self::Unreachable { hints, .. }
            | Self::Lock { hints, .. } => hints,
            Self::Cancelled | Self::Internal { .. } => &[],
        }
    }

    /// The process exit code that this failure asks for (STYLE: exit codes are public).
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed { .. } => 1,
            Self::Usage { .. } => 2,
            Self::Unreachable { .. } => 3,
            Self::Lock { .. } => 4,
            Self::Cancelled => 130,
            Self::Internal { .. } => 70,
        }
    }
}

impl From<tbuild_store::StoreError> for OpError {
    fn from(error: tbuild_store::StoreError) -> Self {
        match error {
            tbuild_store::StoreError::Lacking { .. } => Self::unreachable(&error),
            tbuild_store::StoreError::Content { .. } => Self::failed(&error),
            error => Self::internal(&error),
        }
    }
}

/// What an op sees of the run it is part of.
#[derive(Clone)]
pub struct Context {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Says that the run is to stop.
    pub cancel: Cancel,
    /// The node's name.
    pub node: Arc<str>,
    /// Where events go.
    pub events: EventSink,
    /// Its output.
    pub(crate) log: Arc<std::sync::Mutex<crate::log::Log>>,
}

impl Context {
    /// Passes on a piece of output.
    pub fn output(&self, stream: Stream, bytes: &[u8]) {
        if let Ok(mut log) = self.log.lock() {
            log.push(self.store.as_ref(), bytes);
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        (self.events)(Event::Output {
            node: self.node.to_string(),
            stream,
            text,
        });
    }

    /// Says how far the node is.
    pub fn progress(&self, what: &str, done: u64, total: Option<u64>, bytes: bool) {
        (self.events)(Event::Progress {
            node: self.node.to_string(),
            what: what.to_owned(),
            done,
            total,
            bytes,
        });
    }

    /// Tells the user something.
    pub fn notice(&self, message: impl Into<String>) {
        (self.events)(Event::Notice {
            node: self.node.to_string(),
            message: message.into(),
        });
    }
}

/// What there is to do about a node, once the outputs of its inputs are known.
pub enum Prepared {
    /// Nothing: here is the output.
    Ready(Output),
    /// A pure action, looked up by its key before it is run.
    Action(Work),
    /// The world is as desired, or is to be changed.
    Effect(Effect),
}

/// An action to run.
pub struct Work {
    /// What its outputs depend on.
    pub manifest: KeyManifest,
    /// Which external things it touches that the key does not cover (`network`), for the record.
    pub impure: Vec<String>,
    /// Never taken from the cache, always run (`--no-cache`).
    pub force: bool,
    /// Whatever `run` needs that `prepare` has worked out.
    pub state: Box<dyn Any + Send + Sync>,
}

/// A change of the world.
pub struct Effect {
    /// What is desired.
    pub manifest: KeyManifest,
    /// If the world is so already: the output.
    pub satisfied: Option<Output>,
    /// Why it is not so: for the plan.
    pub reason: String,
    /// Whatever `run` needs that `prepare` has worked out.
    pub state: Box<dyn Any + Send + Sync>,
}

/// What a node does. Implementations hold their parameters; inputs come in the order of the graph's edges.
#[async_trait]
pub trait Op: Send + Sync {
    /// What it does, on one line.
    fn title(&self) -> String;

    /// Where the user wrote it: `Dockerfile:3`.
    fn place(&self) -> Option<String> {
        None
    }

    /// Looks at inputs and, for sources and effects, at the world.
    async fn prepare(&self, cx: &Context, inputs: &[Output]) -> Result<Prepared, OpError>;

    /// Does it; ops that are always ready have nothing to do. For actions what is returned is recorded under the key, so it must be enough for
    /// [`Op::complete`] in another process. `state` is what `prepare` left.
    async fn run(
        &self,
        cx: &Context,
        inputs: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let _unused = (inputs, state);
        Err(OpError::Internal {
            message: format!("{} has nothing to run", cx.node),
        })
    }

    /// What an action that has run is looked up by from now on, where that is not the manifest that it was run by: given
    /// that and what was returned, what it has found out decides its outputs, and is known beforehand the next time.
    fn settled(&self, _: &KeyManifest, _: &serde_json::Value) -> Option<KeyManifest> {
        None
    }

    /// Makes the output from what was recorded; none if something it names is no longer in the store, which
    /// makes it run again.
    async fn complete(
        &self,
        cx: &Context,
        inputs: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let _unused = (cx, inputs, result);
        Ok(None)
    }

    /// What it costs when nothing is known of earlier runs, in milliseconds.
    fn default_cost(&self, kind: NodeKind) -> u64 {
        match kind {
            NodeKind::Base => 20_000,
            NodeKind::Step | NodeKind::Artifact | NodeKind::Tool => 2_000,
            NodeKind::Push | NodeKind::Task | NodeKind::Release | NodeKind::Node => 5_000,
            NodeKind::Source | NodeKind::Image | NodeKind::Chart | NodeKind::Target => 1,
        }
    }
}
