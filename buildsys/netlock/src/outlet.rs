//! The gateway of one action, as an executor hands it the action's sockets.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
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
    counters: Mutex<Option<File>>,
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
            counters: Mutex::default(),
        }
    }

    /// The ports that take HTTP, or TLS.
    pub fn web(&self) -> &[u16] {
        &self.web
    }

    /// How many connections and how many datagrams of the action found nobody who takes them, as far as the kernel
    /// tells.
    pub fn refused(&self) -> (u64, u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let text = counters.as_mut().and_then(|file| {
            let mut text = String::new();
            file.rewind().ok()?;
            file.read_to_string(&mut text).ok()?;
            Some(text)
        });
        let text = text.unwrap_or_default();
        (
            counter(&text, "Tcp:", "AttemptFails"),
            counter(&text, "Udp:", "NoPorts"),
        )
    }

    /// Waits until what origins have begun to answer is written down, `patience` at most; whether all of it is.
    /// Blocks.
    pub fn settle(&self, patience: Duration) -> bool {
        let settled = async { tokio::time::timeout(patience, self.gateway.settle()).await };
        self.runtime.block_on(settled).is_ok()
    }
}

/// A counter of /proc/net/snmp: a line of names, then one of numbers, for each protocol.
fn counter(text: &str, protocol: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter(|line| line.starts_with(protocol));
    let (Some(names), Some(numbers)) = (lines.next(), lines.next()) else {
        return 0;
    };
    let mut pairs = names.split(' ').zip(numbers.split(' '));
    let found = pairs.find(|(found, _)| *found == name);
    found
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

impl Serve for Outlet {
    fn counters(&self, file: File) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        *counters = Some(file);
    }

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

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn counters_are_read_by_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: ActiveOpens AttemptFails\nTcp: 4 3\nUdp: InDatagrams NoPorts\nUdp: 1 2\nUdpLite: NoPorts\nUdpLite: 9\n";
        assert_eq!(counter(text, "Tcp:", "AttemptFails"), 3);
        assert_eq!(counter(text, "Udp:", "NoPorts"), 2);
        assert_eq!(counter(text, "Udp:", "Nothing"), 0);
        assert_eq!(counter("Tcp: a", "Tcp:", "a"), 0);
        assert_eq!(counter("", "Tcp:", "a"), 0);
    }
}
