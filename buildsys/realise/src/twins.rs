//! Nodes of one run that are the same action: one of them at a time is given a place to run in, and the others do not
//! take places from those who have work to do.

use std::collections::{HashMap, VecDeque};

use tbuild_digest::ActionKey;
use tbuild_graph::NodeId;

/// Which nodes are under way, by the keys of their actions.
#[derive(Debug, Default)]
pub struct Twins {
    keys: HashMap<NodeId, ActionKey>,
    /// The first of each may run.
    queues: HashMap<ActionKey, VecDeque<NodeId>>,
}

impl Twins {
    /// Takes note of a node that has to run; true if it may, false if another of its key goes first.
    pub fn enter(&mut self, node: NodeId, key: ActionKey) -> bool {
        let queue = self.queues.entry(key).or_default();
        queue.push_back(node);
        self.keys.insert(node, key);
        queue.len() == 1
    }

    /// The node that may run now that `node` is over, if one waited for it.
    pub fn leave(&mut self, node: NodeId) -> Option<NodeId> {
        let key = self.keys.remove(&node)?;
        let queue = self.queues.get_mut(&key)?;
        queue.retain(|other| *other != node);
        let next = queue.front().copied();
        if next.is_none() {
            self.queues.remove(&key);
        }
        next
    }
}
