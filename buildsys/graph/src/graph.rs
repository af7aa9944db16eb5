//! The graph of nodes.

use std::collections::BTreeMap;

use crate::NodeKind;

/// A node of one graph, by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(usize);

impl NodeId {
    /// The position, for tables beside the graph.
    pub fn index(self) -> usize {
        self.0
    }
}

/// One node.
#[derive(Debug)]
pub struct Vertex<T> {
    /// `kind:name`, unique.
    pub name: String,
    /// Its kind.
    pub kind: NodeKind,
    /// The nodes whose outputs it takes, in the order that its payload expects.
    pub inputs: Vec<NodeId>,
    /// Nodes that must be done first though nothing of theirs is taken.
    pub after: Vec<NodeId>,
    /// What it does.
    pub payload: T,
}

/// Nodes and edges.
#[derive(Debug)]
pub struct Graph<T> {
    vertices: Vec<Vertex<T>>,
    by_name: BTreeMap<String, NodeId>,
}

/// Why nodes do not make a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// One name twice.
    #[error("node {0} is defined twice")]
    Duplicate(String),
    /// Nodes wait for each other.
    #[error("nodes depend on each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl<T> Default for Graph<T> {
    fn default() -> Self {
        Self {
            vertices: Vec::new(),
            by_name: BTreeMap::new(),
        }
    }
}

impl<T> Graph<T> {
    /// A graph with no nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node whose inputs are already there.
    pub fn add(
        &mut self,
        kind: NodeKind,
        name: impl Into<String>,
        inputs: Vec<NodeId>,
        payload: T,
    ) -> Result<NodeId, GraphError> {
        let name = name.into();
        let id = NodeId(self.vertices.len());
        if self.by_name.insert(name.clone(), id).is_some() {
            return Err(GraphError::Duplicate(name));
        }
        self.vertices.push(Vertex {
            name,
            kind,
            inputs,
            after: Vec::new(),
            payload,
        });
        Ok(id)
    }

    /// Makes `node` wait for `first`.
    pub fn order(&mut self, node: NodeId, first: NodeId) {
        let after = &mut self.vertices[node.0].after;
        if !after.contains(&first) {
            after.push(first);
        }
    }

    /// The node of that name.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// One node.
    pub fn get(&self, id: NodeId) -> &Vertex<T> {
        &self.vertices[id.0]
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.vertices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// All nodes.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Vertex<T>)> {
        self.vertices
            .iter()
            .enumerate()
            .map(|(at, vertex)| (NodeId(at), vertex))
    }

    /// What a node waits for: inputs, then order-only.
    pub fn waits_for(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let vertex = self.get(id);
        vertex.inputs.iter().chain(&vertex.after).copied()
    }

    /// `targets` and all that they wait for, each after what it waits for.
    pub fn closure(&self, targets: &[NodeId]) -> Result<Vec<NodeId>, GraphError> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.len()];
        let mut order = Vec::new();
        for target in targets {
            // Depth first with an own stack: a chain of steps may be long.
            let mut stack = vec![(*target, self.waits_for(*target).collect::<Vec<_>>())];
            if marks[target.0] != Mark::New {
                continue;
            }
            marks[target.0] = Mark::Open;
            while let Some((node, rest)) = stack.last_mut() {
                let node = *node;
                let Some(next) = (!rest.is_empty()).then(|| rest.remove(0)) else {
                    marks[node.0] = Mark::Done;
                    order.push(node);
                    stack.pop();
                    continue;
                };
                match marks[next.0] {
                    Mark::Done => {}
                    Mark::Open => {
                        let from = stack
                            .iter()
                            .position(|(open, _)| *open == next)
                            .unwrap_or(0);
                        let mut names: Vec<String> = stack[from..]
                            .iter()
                            .map(|(open, _)| self.get(*open).name.clone())
                            .collect();
                        names.push(self.get(next).name.clone());
                        return Err(GraphError::Cycle(names));
                    }
                    Mark::New => {
                        marks[next.0] = Mark::Open;
                        stack.push((next, self.waits_for(next).collect()));
                    }
                }
            }
        }
        Ok(order)
    }

    /// For each node of `order` (as [`Graph::closure`] gives it), the cost of the most expensive way from it
    /// to the end, itself included: what lies on the critical path runs first. Indexed by [`NodeId::index`].
    pub fn priorities(&self, order: &[NodeId], cost: impl Fn(NodeId) -> u64) -> Vec<u64> {
        let mut priorities = vec![0; self.len()];
        for node in order.iter().rev() {
            let own = priorities[node.0] + cost(*node);
            priorities[node.0] = own;
            for first in self.waits_for(*node) {
                priorities[first.0] = priorities[first.0].max(own);
            }
        }
        priorities
    }
}
