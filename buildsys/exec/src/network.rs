//! What network an action sees.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What network an action sees.
#[derive(Debug, Clone)]
pub enum Network {
    /// Loopback alone.
    None,
    /// The host's: impure.
    Host,
    /// Loopback alone, with sockets on it that somebody outside serves.
    Served(Arc<dyn Serve>),
}

/// How bytes come to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

/// A socket that an action finds on its loopback device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// How it is spoken to.
    pub transport: Transport,
    /// Where. The unspecified address stands for all there are: what an action sends to any address of IPv4 stays on
    /// its loopback device.
    pub address: SocketAddr,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        };
        write!(f, "{}/{transport}", self.address)
    }
}

/// The most sockets that one action may have: what one message between processes carries is limited (Linux:
/// `SCM_MAX_FD`, 253).
pub const MOST_PORTS: usize = 128;

/// Serves sockets that are opened inside an action's network namespace. What it does for them, it does outside: the
/// executor hands sockets over and knows nothing of what is spoken on them.
pub trait Serve: Send + Sync + fmt::Debug {
    /// Which sockets there are to be.
    fn ports(&self) -> Vec<Port>;

    /// Takes the sockets in the order of [`Self::ports`]: bound, those for connections listening. It must not wait
    /// for the action. What comes before anyone serves is kept by the kernel.
    fn serve(&self, sockets: Vec<OwnedFd>) -> io::Result<()>;

    /// Takes the kernel's counters of the action's network, as /proc/net/snmp (proc(5)) tells them whenever the file is
    /// read from its start: what went where nobody listens is seen there alone. Executors may have none.
    fn counters(&self, _file: File) {}
}
