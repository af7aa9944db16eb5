//! The node's networks: a switch and a machine, each in a network namespace that no name holds, so that both,
//! the host's link and its routes go when their owner dies.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::{Addresses, NodeError, NodeSpec, sysctl};

/// The bridge between the machine's pods.
pub(crate) const POD_BRIDGE: &str = "cni0";

/// A network namespace, held by an open file.
#[derive(Debug)]
pub(crate) struct NetworkNamespace(File);

impl NetworkNamespace {
    /// A new one, with nothing but its loopback link, which is up.
    pub(crate) fn new() -> Result<Self, NodeError> {
        let path = Path::new("/proc/thread-self/ns/net");
        let made = thread::scope(|scope| {
            // Namespaces belong to threads: this one's ends with it, the file keeps it.
            scope
                .spawn(|| {
                    unshare(UnshareFlags::NEWNET)?;
                    File::open(path)
                })
                .join()
                .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        });
        let namespace = Self(made.map_err(NodeError::io("make network namespace", path))?);
        namespace.run(|| ip(&["link", "set", "lo", "up"]))??;
        Ok(namespace)
    }

    /// Runs `work` on a thread inside; processes that it starts are inside as well.
    pub(crate) fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, NodeError> {
        let path = Path::new("/proc/thread-self/ns/net");
        let done = thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter()?;
                    Ok(work())
                })
                .join()
                .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
        });
        done.map_err(NodeError::io("enter network namespace", path))
    }

    /// Moves the calling thread inside for good.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let kind = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(self.0.as_fd(), kind).map_err(Into::into)
    }

    /// A path by which other processes name it while this one lives.
    fn path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            rustix::process::getpid().as_raw_nonzero(),
            self.0.as_raw_fd()
        )
    }
}

/// `unshare(2)` for the calling thread.
#[expect(
    deprecated,
    reason = "the safe form is deprecated for CLONE_FILES, which is never passed; unsafe code is for the sandbox alone"
)]
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    rustix::thread::unshare(flags).map_err(Into::into)
}

/// The node's networks, which live as long as this.
#[derive(Debug)]
pub(crate) struct Networks {
    /// The bridge between host and machine. The registry's address is there.
    pub(crate) switch: NetworkNamespace,
    /// The machine's own.
    pub(crate) machine: NetworkNamespace,
}

impl Networks {
    /// Makes both, the host's link and its routes. The bridge is not on the host, so that no rule of the
    /// host's firewall (docker drops what it does not know) applies to what crosses it.
    pub(crate) fn new(spec: &NodeSpec) -> Result<Self, NodeError> {
        let addresses = &spec.addresses;
        let networks = Self {
            switch: NetworkNamespace::new()?,
            machine: NetworkNamespace::new()?,
        };
        load_bridge_filter()?;
        networks
            .switch
            .run(|| make_switch(addresses, &networks.machine, &spec.link()))??;
        networks.machine.run(|| make_machine(addresses))??;
        join_host(addresses, &spec.link())?;
        Ok(networks)
    }
}

fn with_prefix(address: impl Into<IpAddr>, prefix: u8) -> String {
    format!("{}/{prefix}", address.into())
}

/// In the switch's namespace.
fn make_switch(
    addresses: &Addresses,
    machine: &NetworkNamespace,
    link: &str,
) -> Result<(), NodeError> {
    let gateway = with_prefix(addresses.gateway(), 24);
    let pid = std::process::id();
    // The host's namespace by a process in it: this thread is elsewhere, the main thread is not.
    let host = format!("/proc/{pid}/ns/net");
    let inside = machine.path();
    ip(&["link", "add", "br0", "type", "bridge"])?;
    ip(&["addr", "add", &gateway, "dev", "br0"])?;
    ip(&["link", "set", "br0", "up"])?;
    for (port, peer, namespace) in [("host", link, &host), ("machine", "eth0", &inside)] {
        let peer = ["peer", "name", peer, "netns", namespace];
        ip(&[&["link", "add", port, "type", "veth"][..], &peer].concat())?;
        ip(&["link", "set", port, "master", "br0", "up"])?;
    }
    // Frames between host and machine are the bridge's alone.
    for name in ["iptables", "ip6tables"] {
        sysctl::write(&format!("net/bridge/bridge-nf-call-{name}"), "0")?;
    }
    let pods = addresses.pods.to_string();
    ip(&["route", "add", &pods, "via", &addresses.node().to_string()])
}

/// In the machine's namespace.
fn make_machine(addresses: &Addresses) -> Result<(), NodeError> {
    let own = with_prefix(addresses.node(), 24);
    ip(&["addr", "add", &own, "dev", "eth0"])?;
    ip(&["link", "set", "eth0", "up"])?;
    let gateway = addresses.gateway().to_string();
    ip(&["route", "add", "default", "via", &gateway])?;
    // Until kube-proxy has written its rules, what a pod sends to a Service leads nowhere; told so, it tries
    // again at once, where silence costs it half a minute. The rules apply before this is looked at.
    let services = addresses.services.to_string();
    ip(&[
        "rule",
        "add",
        "iif",
        POD_BRIDGE,
        "to",
        &services,
        "unreachable",
    ])?;
    sysctl::write("net/ipv4/ip_forward", "1")?;
    // Pods that share the bridge reach each other through Services only if their frames meet iptables.
    sysctl::write("net/bridge/bridge-nf-call-iptables", "1")
}

/// In the host's namespace.
fn join_host(addresses: &Addresses, link: &str) -> Result<(), NodeError> {
    let own = with_prefix(addresses.host(), 24);
    let node = addresses.node().to_string();
    ip(&["addr", "add", &own, "dev", link])?;
    ip(&["link", "set", link, "up"])?;
    for subnet in [addresses.pods, addresses.services] {
        ip(&["route", "add", &subnet.to_string(), "via", &node])?;
    }
    Ok(())
}

/// Bridged frames meet iptables through a kernel module that nothing loads by itself.
fn load_bridge_filter() -> Result<(), NodeError> {
    let setting = "net/bridge/bridge-nf-call-iptables";
    if !sysctl::exists(setting) {
        // Whether it worked shows below; a kernel may have it built in, and no modprobe.
        let _ = command("modprobe", &["br_netfilter"]);
    }
    if sysctl::exists(setting) {
        return Ok(());
    }
    Err(NodeError::Missing {
        what: "the kernel's bridge filter (br_netfilter)".to_owned(),
        remedy: "load it with modprobe br_netfilter, or run a kernel that has it".to_owned(),
    })
}

/// Whether iproute2 is there.
pub(crate) fn check_iproute() -> Result<(), NodeError> {
    ip(&["-V"])
}

/// Takes a link of the host away, if it is there.
pub(crate) fn remove_link(link: &str) -> Result<(), NodeError> {
    if link_exists(link) {
        ip(&["link", "delete", link])?;
    }
    Ok(())
}

/// Whether the host has a link of that name.
pub(crate) fn link_exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

fn ip(arguments: &[&str]) -> Result<(), NodeError> {
    command("ip", arguments)
}

/// Runs a system administration program, found where Debian keeps them, whatever the caller's PATH.
fn command(program: &str, arguments: &[&str]) -> Result<(), NodeError> {
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .output();
    let line = || format!("{program} {}", arguments.join(" "));
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(NodeError::Command {
            command: line(),
            output: format!(
                "{} ({})",
                String::from_utf8_lossy(&output.stderr).trim(),
                output.status
            ),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(NodeError::Missing {
            what: format!("the program {program}"),
            remedy: "install Debian's package iproute2".to_owned(),
        }),
        Err(error) => Err(NodeError::Command {
            command: line(),
            output: error.to_string(),
        }),
    }
}
