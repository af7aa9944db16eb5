//! What happens, as values.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tbuild_exec::Stream;
use tbuild_graph::NodeKind;

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its output follows from its inputs at no cost: nothing to run, nothing to look up.
    Composed,
    /// Its output was in the store, or the world was as desired.
    Cached,
    /// It ran.
    Ran,
    /// It would run (plan only).
    WouldRun,
    /// It may run, once something before it has (plan only).
    MayRun,
    /// It ran and failed.
    Failed,
    /// Something before it failed.
    Skipped,
    /// It was stopped.
    Cancelled,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The closure of the targets is known.
    Started {
        /// Nodes in it.
        nodes: usize,
    },
    /// A node begins to run.
    NodeStarted {
        /// Its name.
        node: String,
        /// Its kind.
        kind: NodeKind,
        /// What it does, on one line: the instruction, the command.
        title: String,
    },
    /// A piece of a node's output; lines may be split.
    Output {
        /// Whose.
        node: String,
        /// Which stream.
        stream: Stream,
        /// The bytes as text, invalid UTF-8 replaced.
        text: String,
    },
    /// How far a node is.
    Progress {
        /// Whose.
        node: String,
        /// What is counted: `download`, `push`, `rollout`.
        what: String,
        /// Bytes or pieces done.
        done: u64,
        /// Bytes or pieces in all, if known.
        total: Option<u64>,
        /// Whether they are bytes.
        bytes: bool,
    },
    /// Something a user should know that is no failure.
    Notice {
        /// Whose.
        node: String,
        /// What.
        message: String,
    },
    /// A node ended.
    NodeFinished {
        /// Its name.
        node: String,
        /// Its kind.
        kind: NodeKind,
        /// How.
        status: Status,
        /// How long it ran, in milliseconds; 0 for what did not run.
        #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
        duration: Duration,
        /// The failure, if it failed: the message and its causes.
        error: Option<String>,
    },
    /// All is over.
    Finished {
        /// The counts.
        summary: Summary,
    },
}

/// Counts of nodes by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Nodes in the closure.
    pub nodes: usize,
    /// Composed or cached.
    pub cached: usize,
    /// Run.
    pub ran: usize,
    /// Would run or may run.
    pub pending: usize,
    /// Failed.
    pub failed: usize,
    /// Skipped or cancelled.
    pub skipped: usize,
}

/// Where events go. Called from any thread; must not block for long.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

fn milliseconds<S: serde::Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
