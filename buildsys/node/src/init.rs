//! The machine's pid 1: enters its root, starts containerd, has kubeadm make a cluster, starts kubelet, starts
//! each again when it ends, and reaps whatever else ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use rustix::thread::UnshareFlags;

use crate::documents::{self, CONTAINERD_SOCKET, KUBEADM_CONFIG};
use crate::event::{Phase, Report};
use crate::layout::{INITIALISED, Layout};
use crate::supervise::Reports;
use crate::{NodeError, NodeSpec, internal, network, rootfs};

const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
const KUBELET_BOOTSTRAP: &str = "/etc/kubernetes/bootstrap-kubelet.conf";

/// Time between the end of a service and its next start.
const RESTART: Duration = Duration::from_secs(1);
/// How often conditions are looked at that nothing announces.
const TICK: Duration = Duration::from_millis(50);

/// Never returns while the machine is well.
pub(crate) fn run(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    internal::bind_to_parent()?;
    if parent_is_gone() {
        return Ok(());
    }
    let reports = Reports::open(layout)?;
    let port = spec.registry_port()?;
    let namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    network::unshare(namespaces).map_err(NodeError::io(
        "make namespaces for",
        Path::new("/proc/self"),
    ))?;
    rootfs::enter(layout, spec)?;
    rustix::system::sethostname(spec.name.as_bytes())
        .map_err(|errno| NodeError::io("name", Path::new(&spec.name))(errno.into()))?;
    rootfs::configure(&documents::files(spec, port))?;
    Init::new(reports).run()
}

/// Standard input is a pipe whose other end the parent holds.
fn parent_is_gone() -> bool {
    let stdin = io::stdin();
    let mut fds = [PollFd::new(&stdin, PollFlags::empty())];
    let now = Timespec::default();
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().contains(PollFlags::HUP)
}

/// A program that is to run always.
struct Service {
    name: &'static str,
    /// How to start it; none while something that it needs is not there.
    command: fn() -> Option<Command>,
    pid: Option<Pid>,
    not_before: Instant,
}

/// How far the cluster is.
enum Cluster {
    /// containerd does not answer yet.
    AwaitsContainerd,
    /// kubeadm makes it.
    Initialising(Pid),
    /// It is made; what more there is to do is kubelet's.
    Made,
}

struct Init {
    services: [Service; 2],
    cluster: Cluster,
    reports: Reports,
}

impl Init {
    fn new(reports: Reports) -> Self {
        let service = |name, command| Service {
            name,
            command,
            pid: None,
            not_before: Instant::now(),
        };
        Self {
            services: [
                service("containerd", containerd as fn() -> Option<Command>),
                service("kubelet", kubelet as fn() -> Option<Command>),
            ],
            cluster: Cluster::AwaitsContainerd,
            reports,
        }
    }

    fn run(mut self) -> Result<(), NodeError> {
        loop {
            self.start_services()?;
            self.advance()?;
            let settled = matches!(self.cluster, Cluster::Made)
                && self.services.iter().all(|service| service.pid.is_some());
            let options = if settled {
                WaitOptions::empty()
            } else {
                WaitOptions::NOHANG
            };
            match wait(options) {
                Ok(Some((pid, status))) => self.ended(pid, status)?,
                // No child ended, or there is none at all.
                _ => thread::sleep(TICK),
            }
        }
    }

    fn start_services(&mut self) -> Result<(), NodeError> {
        for service in &mut self.services {
            if service.pid.is_some() || Instant::now() < service.not_before {
                continue;
            }
            if let Some(command) = (service.command)() {
                service.pid = Some(spawn(service.name, command)?);
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), NodeError> {
        if !matches!(self.cluster, Cluster::AwaitsContainerd)
            || UnixStream::connect(CONTAINERD_SOCKET).is_err()
        {
            return Ok(());
        }
        self.reports.finished(Phase::Machine)?;
        self.cluster = if Path::new("/").join(INITIALISED).exists() {
            self.reports.finished(Phase::ControlPlane)?;
            Cluster::Made
        } else {
            let mut kubeadm = program("kubeadm");
            kubeadm.args(["init", "--config", KUBEADM_CONFIG]);
            Cluster::Initialising(spawn("kubeadm", kubeadm)?)
        };
        Ok(())
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) -> Result<(), NodeError> {
        if let Cluster::Initialising(kubeadm) = self.cluster
            && kubeadm == pid
        {
            return self.initialised(status);
        }
        for service in &mut self.services {
            if service.pid == Some(pid) {
                note(&format!("{} ended: {}", service.name, describe(status)));
                service.pid = None;
                service.not_before = Instant::now() + RESTART;
            }
        }
        Ok(())
    }

    fn initialised(&mut self, status: WaitStatus) -> Result<(), NodeError> {
        if status.exit_status() != Some(0) {
            let message = format!("kubeadm init ended: {}", describe(status));
            self.reports.write(&Report::Failed {
                phase: Phase::ControlPlane,
                message: message.clone(),
                log: Some("kubeadm".to_owned()),
            })?;
            return Err(NodeError::Command {
                command: "kubeadm init".to_owned(),
                output: message,
            });
        }
        let mark = Path::new("/").join(INITIALISED);
        fs::create_dir_all(mark.parent().unwrap_or(&mark))
            .and_then(|()| fs::write(&mark, ""))
            .map_err(NodeError::io("write", &mark))?;
        self.cluster = Cluster::Made;
        self.reports.finished(Phase::ControlPlane)
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "in an unknown way".to_owned(),
    }
}

/// A line for the machine's log, which is this process's standard error.
fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a service's command, like kubelet's"
)]
fn containerd() -> Option<Command> {
    let mut command = program("containerd");
    command.args(["--config", "/etc/containerd/config.toml"]);
    Some(command)
}

/// kubeadm waits for kubelet, which needs what kubeadm writes a moment before.
fn kubelet() -> Option<Command> {
    let written = |path| fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0);
    if !written(KUBELET_CONFIG) || !(written(KUBELET_KUBECONFIG) || written(KUBELET_BOOTSTRAP)) {
        return None;
    }
    let flags = fs::read_to_string(KUBELET_FLAGS).ok()?;
    let mut command = program("kubelet");
    command
        .arg(format!("--config={KUBELET_CONFIG}"))
        .arg(format!("--kubeconfig={KUBELET_KUBECONFIG}"))
        .arg(format!("--bootstrap-kubeconfig={KUBELET_BOOTSTRAP}"))
        .args(kubelet_flags(&flags));
    Some(command)
}

/// The flags in kubeadm's `KUBELET_KUBEADM_ARGS="--a=b --c=d"`.
fn kubelet_flags(file: &str) -> Vec<&str> {
    file.lines()
        .filter_map(|line| line.trim().strip_prefix("KUBELET_KUBEADM_ARGS="))
        .flat_map(|flags| flags.trim_matches('"').split_ascii_whitespace())
        .collect()
}

/// A program of the machine's, with nothing of the host's environment.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8");
    command
}

/// Starts it with its output at the end of its log. Its end is seen by [`wait`], so the handle goes.
fn spawn(name: &str, mut command: Command) -> Result<Pid, NodeError> {
    let path = format!("/var/log/{name}.log");
    let path = Path::new(&path);
    let log: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(NodeError::io("open", path))?;
    let copy = log.try_clone().map_err(NodeError::io("open", path))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .map_err(NodeError::io("run", Path::new(name)))?;
    Ok(Pid::from_child(&child))
}

#[cfg(test)]
mod tests {
    use super::kubelet_flags;

    #[test]
    fn reads_kubeadms_flags() {
        let file = "KUBELET_KUBEADM_ARGS=\"--node-ip=10.0.0.1 --cgroup-root=/x\"\n";
        assert_eq!(
            kubelet_flags(file),
            ["--node-ip=10.0.0.1", "--cgroup-root=/x"]
        );
        assert!(kubelet_flags("OTHER=\"--x\"\n").is_empty());
    }
}
