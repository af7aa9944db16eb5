//! What a node is to be.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{NodeError, Subnet};

/// Everything that decides a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// The machine's name, its hostname and its Node's name: 1 to 11 of `a-z0-9-`, a letter first.
    pub name: String,
    /// Folder for everything that the node keeps; made when missing, and removed by [`crate::down`].
    pub data: PathBuf,
    /// Unpacked layers of the machine's root file system, topmost first, in overlayfs form. They must outlive
    /// the node.
    pub lower: Vec<PathBuf>,
    /// Kubernetes' version with its `v`, that of kubeadm and kubelet in `lower`.
    pub kubernetes_version: String,
    /// `host:port` by which images are named, a loopback name: every name that starts with it, or with
    /// another loopback name and that port, is read from the registry on this machine.
    pub registry: String,
    /// Program and arguments of a registry server that speaks plain HTTP; `--listen ADDRESS:PORT` is added.
    /// Empty: one already listens on the port of `registry`.
    pub registry_command: Vec<String>,
    /// The control plane's images.
    pub images: ClusterImages,
    /// Addresses; they must be free on this machine.
    pub addresses: Addresses,
    /// Labels of the Node.
    pub labels: BTreeMap<String, String>,
    /// Whether etcd waits for the disk. Without, the cluster's state may be lost with the machine's power, and
    /// is not with a killed process.
    pub etcd_fsync: bool,
    /// How this program is called to become one of the node's own processes: the arguments, without the
    /// program, that lead to [`crate::internal_main`].
    pub reexec: Vec<String>,
}

/// Where the control plane's images are: `REPOSITORY/NAME:TAG`. Kubernetes' own four have its version as tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterImages {
    /// What comes before `/kube-apiserver`.
    pub repository: String,
    /// Tag of `etcd`.
    pub etcd: String,
    /// Tag of `coredns`.
    pub coredns: String,
    /// Tag of `pause`; the one that this version of kubeadm asks for.
    pub pause: String,
}

/// The node's networks. All are routed from the host, none beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The link between host, switch and machine, a /24.
    pub lan: Subnet,
    /// Pods, a /24 or larger; this node has the first /24.
    pub pods: Subnet,
    /// Services, a /24 or larger.
    pub services: Subnet,
}

/// How long each part of coming up may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// Networks and the registry.
    pub network: Duration,
    /// containerd.
    pub machine: Duration,
    /// `kubeadm init`, pulls included.
    pub control_plane: Duration,
    /// The Node is Ready.
    pub ready: Duration,
    /// CoreDNS and kube-proxy run.
    pub addons: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            network: Duration::from_secs(30),
            machine: Duration::from_mins(1),
            control_plane: Duration::from_mins(5),
            ready: Duration::from_mins(2),
            addons: Duration::from_mins(3),
        }
    }
}

impl Default for Addresses {
    /// 10.210.0.0/24, 10.244.0.0/16 and 10.96.0.0/16.
    fn default() -> Self {
        let net = |a, b, prefix| Subnet::new(Ipv4Addr::new(a, b, 0, 0), prefix);
        match (net(10, 210, 24), net(10, 244, 16), net(10, 96, 16)) {
            (Some(lan), Some(pods), Some(services)) => Self {
                lan,
                pods,
                services,
            },
            _ => unreachable!("the constants have no bits beyond their prefixes"),
        }
    }
}

impl Addresses {
    /// The switch, where the machine finds the registry.
    pub fn gateway(&self) -> Ipv4Addr {
        self.lan.address(1)
    }

    /// The host's leg.
    pub fn host(&self) -> Ipv4Addr {
        self.lan.address(2)
    }

    /// The machine, where the host finds the API server (port 6443) and node ports.
    pub fn node(&self) -> Ipv4Addr {
        self.lan.address(11)
    }

    /// The API server.
    pub fn api_server(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.node(), 6443)
    }
}

impl NodeSpec {
    /// Checks what can be checked without touching the machine.
    pub fn validate(&self) -> Result<(), NodeError> {
        let fail = |what: String| Err(NodeError::Spec(what));
        let named = self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && !self.name.ends_with('-')
            && self.name.len() <= 11
            && self
                .name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !named {
            return fail(format!(
                "node name {:?} is not 1 to 11 of a-z, 0-9 and -, a letter first",
                self.name
            ));
        }
        if !self.data.is_absolute() {
            return fail(format!(
                "data folder {} is not an absolute path",
                self.data.display()
            ));
        }
        if self.lower.is_empty() {
            return fail("the node's image has no layers".to_owned());
        }
        let Addresses {
            lan,
            pods,
            services,
        } = self.addresses;
        if lan.prefix() != 24 || pods.prefix() > 24 || services.prefix() > 24 {
            return fail(format!(
                "{lan} must be a /24, and neither {pods} nor {services} smaller than one"
            ));
        }
        if lan.overlaps(pods) || lan.overlaps(services) || pods.overlaps(services) {
            return fail(format!("{lan}, {pods} and {services} overlap"));
        }
        self.registry_port().map(|_| ())
    }

    /// The port of the registry, which is on this machine.
    pub(crate) fn registry_port(&self) -> Result<u16, NodeError> {
        self.registry
            .rsplit_once(':')
            .filter(|(host, _)| matches!(*host, "localhost" | "127.0.0.1"))
            .and_then(|(_, port)| port.parse().ok())
            .filter(|port| *port != 0)
            .ok_or_else(|| {
                NodeError::Spec(format!(
                    "registry {:?} is not localhost:PORT: the node serves its images from this machine",
                    self.registry
                ))
            })
    }

    /// Name of the host's end of the link, within the kernel's 15 bytes.
    pub(crate) fn link(&self) -> String {
        format!("tb-{}", self.name)
    }

    /// Name of its folder in each cgroup hierarchy.
    pub(crate) fn cgroup(&self) -> String {
        format!("tbuild-{}", self.name)
    }

    /// Whether a machine made for `other` can go on as one for `self`: all but labels, which the API takes at
    /// any time, and how this program and the registry are called.
    pub(crate) fn same_machine(&self, other: &Self) -> bool {
        let machine = |spec: &Self| Self {
            labels: BTreeMap::new(),
            reexec: Vec::new(),
            registry_command: Vec::new(),
            ..spec.clone()
        };
        machine(self) == machine(other)
    }
}
