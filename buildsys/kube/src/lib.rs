//! What a cluster reports: releases, workloads, pods, events, logs; and Jobs run with their logs streamed.
//!
//! Every call asks the API server; nothing is cached, and nothing is discovered but for drift, so a first answer
//! costs one round trip. What is changed here is little: namespaces, Jobs, and workloads that are to be started
//! again. Charts are helm's to install.
//!
//! This crate does not know images, stores, the graph, or how values become manifests.

mod address;
mod cluster;
mod drift;
mod error;
mod exec;
mod failure;
mod follow;
mod job;
mod logs;
mod pod;
mod release;
mod restart;
mod rollout;
mod status;
mod task;
mod trouble;

pub use cluster::Cluster;
pub use drift::Drift;
pub use error::KubeError;
pub use exec::{Exec, ExecOutcome, TerminalSize};
pub use failure::Failure;
pub use job::{JobOutcome, JobView};
pub use logs::{LogLine, LogRequest};
pub use pod::{ContainerView, PodView};
pub use release::{ReleaseState, RevisionView};
pub use rollout::{Rollout, WorkloadKind, WorkloadProgress};
pub use status::NamespaceStatus;
pub use task::{Task, TaskJob};
pub use trouble::Trouble;

#[cfg(test)]
mod tests;
