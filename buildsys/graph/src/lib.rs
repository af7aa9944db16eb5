//! Nodes, key manifests, planning order, and explain.
//!
//! A [`Graph`] knows names, kinds and edges; what a node does is its payload, which this crate never looks
//! into. A [`KeyManifest`] is everything that decides a node's outputs: the key is its hash, and "why did it
//! run" is the difference of two of them, so what is hashed is always what is explained.
//!
//! This crate does not know stores, executors, or time.

mod explain;
mod graph;
mod kind;
mod manifest;

pub use explain::{Change, explain};
pub use graph::{Graph, GraphError, NodeId, Vertex};
pub use kind::NodeKind;
pub use manifest::{Field, KeyManifest, Value};

#[cfg(test)]
mod tests;
