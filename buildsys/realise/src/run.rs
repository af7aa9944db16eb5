//! The loop that realises a closure.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tbuild_exec::Cancel;
use tbuild_graph::{Graph, GraphError, KeyManifest, NodeId};
use tbuild_store::Store;
use tokio::task::JoinSet;

use crate::node::{Report, Shared, ToRun, failed};
use crate::op::chain;
use crate::record::last;
use crate::twins::Twins;
use crate::{Event, EventSink, Op, OpError, Output, Status, Summary, Tracker, Transition};

/// How to realise.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many nodes may run at once.
    pub jobs: usize,
    /// Whether nodes that do not depend on a failed one go on.
    pub keep_going: bool,
    /// Whether to look only: nothing is run, nothing is recorded.
    pub plan_only: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The counts.
    pub summary: Summary,
    /// The outputs that are known.
    pub outputs: BTreeMap<NodeId, Output>,
    /// Today's key manifests, as far as they could be made.
    pub manifests: BTreeMap<NodeId, KeyManifest>,
    /// How each node ended.
    pub statuses: BTreeMap<NodeId, Status>,
    /// Why effects are not as desired (plan only).
    pub reasons: BTreeMap<NodeId, String>,
    /// The nodes that failed, in the order in which they did.
    pub failures: Vec<Failure>,
}

/// A node that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub node: String,
    /// What it does.
    pub title: String,
    /// Why.
    pub error: OpError,
    /// The end of its output.
    pub log: Vec<u8>,
}

/// A ready node, ordered by priority.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Ready {
    priority: u64,
    /// Among equals the one that was defined first.
    order: std::cmp::Reverse<usize>,
    node: NodeId,
}

/// Realises `targets` and what they wait for.
pub async fn realise(
    graph: Arc<Graph<Box<dyn Op>>>,
    targets: &[NodeId],
    store: Arc<dyn Store>,
    events: EventSink,
    cancel: Cancel,
    options: Options,
) -> Result<Outcome, GraphError> {
    let order = graph.closure(targets)?;
    let (tracker, first) = Tracker::new(&graph, &order);
    events(Event::Started { nodes: order.len() });
    let mut run = Run {
        shared: Arc::new(Shared {
            graph,
            store,
            events,
            cancel,
            settled: Mutex::default(),
        }),
        options,
        tracker,
        tasks: JoinSet::new(),
        ready: BinaryHeap::new(),
        waiting: BTreeMap::new(),
        twins: Twins::default(),
        running: 0,
        priorities: None,
        order,
        outcome: Outcome::default(),
    };
    run.outcome.summary.nodes = run.order.len();
    for node in first {
        run.prepare(node);
    }
    run.go().await;
    (run.shared.events)(Event::Finished {
        summary: run.outcome.summary,
    });
    Ok(run.outcome)
}

struct Run {
    shared: Arc<Shared>,
    options: Options,
    tracker: Tracker,
    tasks: JoinSet<(NodeId, Report)>,
    ready: BinaryHeap<Ready>,
    waiting: BTreeMap<NodeId, ToRun>,
    twins: Twins,
    running: usize,
    /// Made when the first node has to run: a no-op never needs it.
    priorities: Option<Vec<u64>>,
    order: Vec<NodeId>,
    outcome: Outcome,
}

impl Run {
    async fn go(&mut self) {
        while !self.tracker.is_over() {
            self.fill_slots();
            let Some(done) = self.tasks.join_next().await else {
                break;
            };
            match done {
                Ok((node, report)) => self.take(node, report),
                // A panic in an op is a defect; the process is set up to abort on it, and in tests it is shown.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    fn stopping(&self) -> bool {
        self.shared.cancel.is_cancelled()
            || (!self.outcome.failures.is_empty() && !self.options.keep_going)
    }

    fn fill_slots(&mut self) {
        while self.running < self.options.jobs.max(1) || self.stopping() {
            let Some(Ready { node, .. }) = self.ready.pop() else {
                break;
            };
            let Some(work) = self.waiting.remove(&node) else {
                continue;
            };
            if self.stopping() {
                self.end(node, Status::Cancelled, Duration::ZERO, None);
                continue;
            }
            self.tracker.apply(node, Transition::Running);
            self.running += 1;
            self.start(node, work);
        }
    }

    fn inputs(&self, node: NodeId) -> Vec<Output> {
        let vertex = self.shared.graph.get(node);
        vertex
            .inputs
            .iter()
            .filter_map(|input| self.outcome.outputs.get(input).cloned())
            .collect()
    }

    fn prepare(&mut self, node: NodeId) {
        if self.stopping() {
            self.end(node, Status::Cancelled, Duration::ZERO, None);
            return;
        }
        let (shared, inputs) = (Arc::clone(&self.shared), self.inputs(node));
        let plan_only = self.options.plan_only;
        self.tasks.spawn(async move {
            let cx = shared.context(node);
            let report = shared.prepare(node, &cx, &inputs, plan_only).await;
            (
                node,
                report.unwrap_or_else(|error| failed(error, Duration::ZERO, &cx)),
            )
        });
    }

    fn start(&mut self, node: NodeId, work: ToRun) {
        let (shared, inputs) = (Arc::clone(&self.shared), self.inputs(node));
        let vertex = shared.graph.get(node);
        (shared.events)(Event::NodeStarted {
            node: vertex.name.clone(),
            kind: vertex.kind,
            title: vertex.payload.title(),
        });
        self.tasks.spawn(async move {
            let cx = shared.context(node);
            let begun = Instant::now();
            let report = shared.run(node, &cx, &inputs, work, begun).await;
            (
                node,
                report.unwrap_or_else(|error| failed(error, begun.elapsed(), &cx)),
            )
        });
    }

    fn take(&mut self, node: NodeId, report: Report) {
        let was_running = self.tracker.state(node) == Some(crate::NodeState::Running);
        self.running -= usize::from(was_running);
        match report {
            Report::Known {
                output,
                manifest,
                status,
                duration,
            } => {
                self.outcome.outputs.insert(node, output);
                if let Some(manifest) = manifest {
                    self.outcome.manifests.insert(node, manifest);
                }
                self.end(node, status, duration, None);
            }
            Report::ToRun(work) => {
                self.outcome.manifests.insert(node, work.manifest.clone());
                if let Some(reason) = &work.reason {
                    self.outcome.reasons.insert(node, reason.clone());
                }
                if self.options.plan_only {
                    self.end(node, Status::WouldRun, Duration::ZERO, None);
                    return;
                }
                self.tracker.apply(node, Transition::Ready);
                let goes_first = work.key.is_none_or(|key| self.twins.enter(node, key));
                self.waiting.insert(node, work);
                if goes_first {
                    self.push(node);
                }
            }
            Report::Failed {
                error: OpError::Cancelled,
                duration,
                ..
            } => {
                self.end(node, Status::Cancelled, duration, None);
            }
            Report::Failed {
                error,
                duration,
                log,
            } => {
                let vertex = self.shared.graph.get(node);
                let message = chain(&error);
                let (name, title) = (vertex.name.clone(), vertex.payload.title());
                self.outcome.failures.push(Failure {
                    node: name,
                    title,
                    error,
                    log,
                });
                self.end(node, Status::Failed, duration, Some(message));
            }
        }
    }

    fn push(&mut self, node: NodeId) {
        let priority = self.priority(node);
        self.ready.push(Ready {
            priority,
            order: std::cmp::Reverse(node.index()),
            node,
        });
    }

    fn priority(&mut self, node: NodeId) -> u64 {
        let Self {
            shared,
            order,
            priorities,
            ..
        } = self;
        let table = priorities.get_or_insert_with(|| {
            shared.graph.priorities(order, |node| {
                let vertex = shared.graph.get(node);
                let known = last(shared.store.as_ref(), &vertex.name).ok().flatten();
                known
                    .map(|last| last.duration_ms)
                    .filter(|cost| *cost > 0)
                    .unwrap_or_else(|| vertex.payload.default_cost(vertex.kind))
            })
        });
        table[node.index()]
    }

    /// Ends a node and starts or ends those that waited for it.
    fn end(&mut self, node: NodeId, status: Status, duration: Duration, error: Option<String>) {
        if let Some(twin) = self.twins.leave(node) {
            self.push(twin);
        }
        let known = self.outcome.outputs.contains_key(&node);
        let transition = if known {
            Transition::Done
        } else {
            Transition::Blocked
        };
        let (start, blocked) = self.tracker.apply(node, transition);
        self.report(node, status, duration, error);
        let after = match status {
            Status::WouldRun | Status::MayRun => Status::MayRun,
            _ => Status::Skipped,
        };
        for node in blocked {
            self.report(node, after, Duration::ZERO, None);
        }
        for node in start {
            self.prepare(node);
        }
    }

    fn report(&mut self, node: NodeId, status: Status, duration: Duration, error: Option<String>) {
        let summary = &mut self.outcome.summary;
        match status {
            Status::Composed | Status::Cached => summary.cached += 1,
            Status::Ran => summary.ran += 1,
            Status::WouldRun | Status::MayRun => summary.pending += 1,
            Status::Failed => summary.failed += 1,
            Status::Skipped | Status::Cancelled => summary.skipped += 1,
        }
        self.outcome.statuses.insert(node, status);
        let vertex = self.shared.graph.get(node);
        (self.shared.events)(Event::NodeFinished {
            node: vertex.name.clone(),
            kind: vertex.kind,
            status,
            duration,
            error,
        });
    }
}
