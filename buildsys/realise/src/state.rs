//! The states of a node within one run, and the one function that moves between them.

use tbuild_graph::{Graph, NodeId};

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Waits for as many nodes. Precondition of leaving: the count is 0.
    Waiting(usize),
    /// Its inputs are done; it is being looked at.
    Preparing,
    /// It has to run and waits for a free slot.
    Ready,
    /// It runs.
    Running,
    /// Its output is known.
    Done,
    /// It has no output: failed, skipped, cancelled, or (in a plan) not known.
    Blocked,
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// Its output is known.
    Done,
    /// It will have no output in this run.
    Blocked,
    /// It has to run.
    Ready,
    /// It got a slot.
    Running,
}

/// The states of all nodes of one closure.
#[derive(Debug)]
pub struct Tracker {
    states: Vec<Option<NodeState>>,
    dependents: Vec<Vec<NodeId>>,
    open: usize,
}

impl Tracker {
    /// All of `order` waiting. Returns also the nodes that wait for nothing, already preparing.
    pub fn new<T>(graph: &Graph<T>, order: &[NodeId]) -> (Self, Vec<NodeId>) {
        let mut states = vec![None; graph.len()];
        let mut dependents = vec![Vec::new(); graph.len()];
        let mut first = Vec::new();
        for node in order {
            let mut before: Vec<NodeId> = graph.waits_for(*node).collect();
            before.sort_unstable();
            before.dedup();
            states[node.index()] = Some(if before.is_empty() {
                first.push(*node);
                NodeState::Preparing
            } else {
                NodeState::Waiting(before.len())
            });
            for input in before {
                dependents[input.index()].push(*node);
            }
        }
        (
            Self {
                states,
                dependents,
                open: order.len(),
            },
            first,
        )
    }

    /// Where a node stands; none if it is not part of this run.
    pub fn state(&self, node: NodeId) -> Option<NodeState> {
        self.states[node.index()]
    }

    /// Whether every node has ended.
    pub fn is_over(&self) -> bool {
        self.open == 0
    }

    /// Moves `node`. Returns the nodes that are to be prepared now, and those that can no longer run; the
    /// latter are already blocked.
    pub fn apply(&mut self, node: NodeId, transition: Transition) -> (Vec<NodeId>, Vec<NodeId>) {
        use NodeState as S;
        let next = match (self.states[node.index()], transition) {
            (Some(S::Preparing), Transition::Ready) => S::Ready,
            (Some(S::Ready), Transition::Running) => S::Running,
            (Some(S::Preparing | S::Running), Transition::Done) => S::Done,
            (Some(S::Preparing | S::Ready | S::Running | S::Waiting(_)), Transition::Blocked) => {
                S::Blocked
            }
            // Anything else would be a defect of the scheduler: the node stays as it is.
            _ => return (Vec::new(), Vec::new()),
        };
        self.states[node.index()] = Some(next);
        let (mut start, mut blocked) = (Vec::new(), Vec::new());
        match next {
            S::Done => {
                self.open -= 1;
                for dependent in self.dependents[node.index()].clone() {
                    if let Some(S::Waiting(count)) = &mut self.states[dependent.index()] {
                        *count -= 1;
                        if *count == 0 {
                            self.states[dependent.index()] = Some(S::Preparing);
                            start.push(dependent);
                        }
                    }
                }
            }
            S::Blocked => {
                self.open -= 1;
                for dependent in self.dependents[node.index()].clone() {
                    if matches!(self.states[dependent.index()], Some(S::Waiting(_))) {
                        blocked.push(dependent);
                        blocked.extend(self.apply(dependent, Transition::Blocked).1);
                    }
                }
            }
            _ => {}
        }
        (start, blocked)
    }
}
