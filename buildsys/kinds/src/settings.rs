//! What a build gives its steps that no Dockerfile says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tbuild_config::Network;
use tbuild_exec::Limits;

use crate::network::StepsLock;

/// What a build gives its steps besides what they say themselves.
#[derive(Debug, Clone, Default)]
pub struct StepSettings {
    /// Secrets by id.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of SSH agents by id.
    pub ssh: BTreeMap<String, PathBuf>,
    /// The network of a RUN that asks for none; the machine's if nothing is said.
    pub network: Option<StepNetwork>,
    /// Which recorded steps are recorded again although they are locked.
    pub relock: Relock,
    /// Whether recorded steps run once more, with package indexes cut down to what they took.
    pub reduce: bool,
    /// More lines of /etc/hosts: names with their addresses.
    pub hosts: Vec<(String, String)>,
    /// The most that a step may use.
    pub limits: Limits,
    /// How long a step may run.
    pub timeout: Option<Duration>,
    /// Whether steps run although they were run before.
    pub no_cache: bool,
    /// Whether RUN --security=insecure is allowed.
    pub insecure: bool,
}

/// Which recorded steps are recorded again although they are locked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Relock {
    /// None.
    #[default]
    Nothing,
    /// All.
    All,
    /// Those of these nodes: `image:web`, `artifact:css`.
    Of(BTreeSet<String>),
    /// These, by the names of their locks and their own ids there.
    Steps(BTreeSet<(String, String)>),
}

impl Relock {
    /// Whether a step of a lock is recorded again.
    pub(crate) fn wants(&self, of: &StepsLock, step: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Of(nodes) => of.nodes.iter().any(|node| nodes.contains(node)),
            Self::Steps(steps) => steps.contains(&(of.name.clone(), step.to_owned())),
        }
    }
}

/// The network of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepNetwork {
    /// Loopback alone.
    None,
    /// The machine's.
    Host,
    /// Loopback with a gateway: what is asked for is locked, and answered from the lock.
    Recorded,
}

/// What tbuild.toml says of a network.
pub(crate) fn step_network(network: Network) -> StepNetwork {
    match network {
        Network::None => StepNetwork::None,
        Network::Host => StepNetwork::Host,
        Network::Recorded => StepNetwork::Recorded,
    }
}

/// A secret. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A secret of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
