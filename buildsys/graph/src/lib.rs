//! Nodes, key manifests, planning order, and explain.
