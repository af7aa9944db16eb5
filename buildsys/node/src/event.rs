//! What is said while a node comes up.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::BoxError;

/// The parts of coming up, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// What a dead supervisor left is taken away.
    Clean,
    /// The switch, the host's link, routes.
    Network,
    /// The registry listens.
    Registry,
    /// The caller pushes the control plane's images.
    Images,
    /// Root file system, namespaces, containerd.
    Machine,
    /// `kubeadm init`, or the restart of what it made.
    ControlPlane,
    /// The Node is Ready and labelled.
    Ready,
    /// CoreDNS and kube-proxy run.
    Addons,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Network => "network",
            Self::Registry => "registry",
            Self::Images => "images",
            Self::Machine => "machine",
            Self::ControlPlane => "control plane",
            Self::Ready => "ready",
            Self::Addons => "addons",
        })
    }
}

/// One thing that happened while a node came up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeEvent {
    /// A part began.
    Started(Phase),
    /// A part took `elapsed`.
    Finished {
        /// Which.
        phase: Phase,
        /// Since it began, or since this caller began to look at it.
        elapsed: Duration,
    },
    /// A line that tells how far a part is.
    Progress {
        /// Which.
        phase: Phase,
        /// Without line end.
        line: String,
    },
}

/// Who watches a node come up, and pushes its images when there is a registry to push to.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: NodeEvent);

    /// The registry listens on `registry` (`host:port`, plain HTTP): makes sure that it has the control
    /// plane's images. Called once for each time that the machine is started.
    fn push_images(&mut self, registry: &str) -> Result<(), BoxError>;
}

/// What the supervisor and the machine report, a JSON line each in the events file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "kebab-case")]
pub(crate) enum Report {
    /// The phase is over.
    Finished { phase: Phase },
    /// The phase cannot end well; the supervisor goes away.
    Failed {
        phase: Phase,
        message: String,
        /// Name of the log under the data folder's `log`.
        log: Option<String>,
    },
}
