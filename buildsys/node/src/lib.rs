//! A real one-node Kubernetes on this machine, by kubeadm.
//!
//! [`up`] brings up a machine in namespaces of its own (pid, network, mount, uts, ipc) over a root file system
//! of unpacked image layers, and lets kubeadm make a cluster of it. One process of this very program, the
//! supervisor, owns everything that lives: its network namespaces, the registry, and the machine, whose
//! processes die with it. So what is left after `kill -9` are folders, cgroups and four sysctls, and [`down`]
//! and the next [`up`] clean those with the same code.
//!
//! ```text
//! host                     | switch (netns)             | machine (pid, net, mnt, uts, ipc)
//! registry 127.0.0.1:PORT <-- forwarder GATEWAY:PORT <---- containerd pulls REGISTRY/NAME
//! tb-NAME  HOST_ADDRESS ---- bridge GATEWAY -------------- eth0 NODE_ADDRESS: kubelet, API server :6443
//! ```
//!
//! This crate does not know images, stores or Helm, and nothing of what is deployed. It blocks; callers
//! that are asynchronous give it a thread.

mod api;
mod cgroup;
mod clean;
mod documents;
mod down;
mod error;
mod event;
mod follow;
mod forward;
mod init;
mod internal;
mod launch;
mod layout;
mod network;
mod process;
mod rootfs;
mod spec;
mod state;
mod status;
mod subnet;
mod supervise;
mod sysctl;
mod up;

pub use down::{DownOutcome, down};
pub use error::{BoxError, NodeError};
pub use event::{NodeEvent, Observer, Phase};
pub use internal::internal_main;
pub use spec::{Addresses, ClusterImages, Deadlines, NodeSpec};
pub use status::{KnownNode, NodePhase, NodeStatus, status};
pub use subnet::{Subnet, SubnetError};
pub use up::{UpOutcome, up};

#[cfg(test)]
mod tests;
