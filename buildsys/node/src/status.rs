//! How a node does.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::api::{ApiServer, registry_answers};
use crate::layout::Layout;
use crate::state::{Machine, State, read_json};
use crate::{Addresses, NodeError};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodePhase {
    /// Nothing of it is there.
    Down,
    /// Its cluster is kept, nothing runs: `down` with `keep`, or this machine was started anew.
    Stopped,
    /// Its supervisor died and left something: `up` starts it again, `down` cleans.
    Abandoned,
    /// It comes up, or comes back.
    Starting,
    /// Its API server is ready.
    Up,
}

/// How a node does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Where it is in its life.
    pub phase: NodePhase,
    /// What is known of it, unless it is [`NodePhase::Down`].
    pub node: Option<KnownNode>,
}

/// What is known of a node that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownNode {
    /// Its name.
    pub name: String,
    /// Its Kubernetes' version.
    pub kubernetes_version: String,
    /// Its addresses.
    pub addresses: Addresses,
    /// `host:port` of its registry.
    pub registry: String,
    /// Whether that answers.
    pub registry_answers: bool,
    /// The administrator's kubeconfig; there once the control plane was up.
    pub kubeconfig: PathBuf,
    /// Folder of the logs of containerd, kubelet, kubeadm and pods.
    pub logs: PathBuf,
    /// The supervisor's process, while it runs.
    pub supervisor: Option<i32>,
    /// The machine's pid 1 by this machine's count, while it runs.
    pub init: Option<i32>,
    /// When the supervisor began, in seconds since 1970; none when it is gone.
    pub since: Option<u64>,
}

/// How the node of this data folder does.
pub fn status(data: &Path) -> Result<NodeStatus, NodeError> {
    let layout = Layout::new(data);
    let state = State::load(&layout)?;
    let spec = match &state {
        Some(state) => Some(state.spec.clone()),
        None => read_json(&layout.spec())?,
    };
    let Some(spec) = spec else {
        return Ok(NodeStatus {
            phase: NodePhase::Down,
            node: None,
        });
    };
    let alive = state.as_ref().filter(|state| state.is_alive());
    let machine: Option<Machine> = read_json(&layout.machine())?;
    let ready = || {
        std::fs::read_to_string(layout.kubeconfig())
            .ok()
            .and_then(|config| ApiServer::new(spec.addresses.api_server(), &config).ok())
            .is_some_and(|api| api.is_ready())
    };
    let phase = match (&state, alive) {
        (_, Some(_)) if layout.ready().exists() && ready() => NodePhase::Up,
        (_, Some(_)) => NodePhase::Starting,
        (Some(state), None) if state.is_of_this_boot() => NodePhase::Abandoned,
        _ => NodePhase::Stopped,
    };
    let registry = std::net::SocketAddrV4::new([127, 0, 0, 1].into(), spec.registry_port()?);
    Ok(NodeStatus {
        phase,
        node: Some(KnownNode {
            registry_answers: registry_answers(registry),
            kubeconfig: layout.kubeconfig(),
            logs: layout.machine_folder("log"),
            supervisor: alive.map(|state| state.supervisor.pid()),
            init: alive
                .and(machine)
                .filter(|machine| machine.init.is_alive())
                .map(|machine| machine.init.pid()),
            since: alive.map(|state| state.since),
            name: spec.name,
            kubernetes_version: spec.kubernetes_version,
            addresses: spec.addresses,
            registry: spec.registry,
        }),
    })
}
