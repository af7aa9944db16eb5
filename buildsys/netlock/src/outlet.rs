//! The gateway of one action, as an executor hands it the action's sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tbuild_exec::{Port, Serve, Transport};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::{Gateway, Sockets};

/// The name server of an action, for its resolv.conf.
pub const NAME_SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// Where names are asked for.
const DNS: u16 = 53;
/// The ports of HTTP and of HTTP over TLS.
const WEB: [u16; 2] = [80, 443];

/// Serves the sockets of one action until it is dropped.
#[derive(Debug)]
pub struct Outlet {
    gateway: Arc<Gateway>,
    runtime: Handle,
    /// Ports that take HTTP, or TLS, whichever comes.
    web: Vec<u16>,
    serving: Mutex<Option<AbortHandle>>,
}

impl Outlet {
    /// An outlet whose gateway runs on `runtime`; `more` are ports besides those of HTTP and HTTPS.
    pub fn new(gateway: Gateway, runtime: Handle, more: &[u16]) -> Self {
        let mut web = WEB.to_vec();
        web.extend(more.iter().filter(|port| !WEB.contains(port)));
        Self {
            gateway: Arc::new(gateway),
            runtime,
            web,
            serving: Mutex::default(),
        }
    }

    /// Waits until what origins have begun to answer is written down, `patience` at most; whether all of it is.
    /// Blocks.
    pub fn settle(&self, patience: Duration) -> bool {
        let settled = async { tokio::time::timeout(patience, self.gateway.settle()).await };
        self.runtime.block_on(settled).is_ok()
    }
}

impl Serve for Outlet {
    fn ports(&self) -> Vec<Port> {
        let port = |transport, address, number| Port {
            transport,
            address: SocketAddr::new(address, number),
        };
        let mut ports = vec![
            port(Transport::Udp, NAME_SERVER, DNS),
            port(Transport::Tcp, NAME_SERVER, DNS),
        ];
        // Names have addresses all over the loopback network: a socket at each is not to be had.
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        ports.extend(self.web.iter().map(|web| port(Transport::Tcp, any, *web)));
        ports
    }

    fn serve(&self, sockets: Vec<OwnedFd>) -> io::Result<()> {
        let mut sockets = sockets.into_iter();
        let mut next = || {
            let missing = || io::Error::other("a socket of the gateway is missing");
            sockets.next().ok_or_else(missing)
        };
        let (names, names_tcp) = (next()?.into(), next()?.into());
        let sockets = Sockets {
            names,
            names_tcp,
            web: sockets.map(Into::into).collect(),
        };
        let gateway = Arc::clone(&self.gateway);
        let task = self.runtime.spawn(async move {
            if let Err(error) = gateway.serve(sockets).await {
                tracing::warn!(%error, "the network of a step fails");
            }
        });
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = serving.replace(task.abort_handle()) {
            before.abort();
        }
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = serving.take() {
            task.abort();
        }
    }
}
