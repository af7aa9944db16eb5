//! The supervisor: owns the networks, keeps the registry and the machine running, reports.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::api::registry_answers;
use crate::event::{Phase, Report};
use crate::internal::{self, Role};
use crate::layout::{INITIALISED, Layout};
use crate::network::Networks;
use crate::process::ProcessId;
use crate::state::{State, boot_id};
use crate::{NodeError, NodeSpec, cgroup, forward, rootfs, sysctl};

/// How long a registry may take until it listens.
const REGISTRY_START: Duration = Duration::from_secs(20);
/// How long killed processes of an earlier machine may count as its cgroups' members.
const CGROUP_DRAIN: Duration = Duration::from_secs(10);
/// Time between the end of the machine or the registry and its next start.
const RESTART: Duration = Duration::from_secs(1);

/// Where reports go.
pub(crate) struct Reports(File);

impl Reports {
    /// Appends to the events file.
    pub(crate) fn open(layout: &Layout) -> Result<Self, NodeError> {
        let path = layout.events();
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map(Self)
            .map_err(NodeError::io("open", &path))
    }

    /// One write a line, so that lines of two processes do not mix.
    pub(crate) fn write(&self, report: &Report) -> Result<(), NodeError> {
        let path = Path::new("events.jsonl");
        let mut line = serde_json::to_vec(report).map_err(|source| NodeError::State {
            path: path.to_owned(),
            source,
        })?;
        line.push(b'\n');
        (&self.0)
            .write_all(&line)
            .map_err(NodeError::io("write", path))
    }

    pub(crate) fn finished(&self, phase: Phase) -> Result<(), NodeError> {
        self.write(&Report::Finished { phase })
    }
}

/// Runs until it is killed, or until something fails that is not to be tried again.
pub(crate) fn run(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    let reports = Reports::open(layout)?;
    let failed = |phase, log: Option<&str>, error: NodeError| {
        let report = Report::Failed {
            phase,
            message: chain(&error),
            log: log.map(str::to_owned),
        };
        reports.write(&report).err().unwrap_or(error)
    };
    let state = take_over(layout, spec).map_err(|error| failed(Phase::Clean, None, error))?;
    let networks = Networks::new(spec).map_err(|error| failed(Phase::Network, None, error))?;
    reports.finished(Phase::Network)?;
    serve_registry(layout, spec, &networks)
        .map_err(|error| failed(Phase::Registry, Some("registry"), error))?;
    reports.finished(Phase::Registry)?;
    while !layout.boot().exists() {
        thread::sleep(Duration::from_millis(10));
    }
    run_machine(layout, spec, &state, &networks)
        .map_err(|error| failed(Phase::Machine, Some("supervisor"), error))
}

/// Writes down what there is to give back, before any of it is taken.
fn take_over(layout: &Layout, spec: &NodeSpec) -> Result<State, NodeError> {
    let own = Path::new("/proc/self/stat");
    let unreadable = || NodeError::io("read", own)(std::io::ErrorKind::InvalidData.into());
    #[expect(
        clippy::disallowed_methods,
        reason = "since when the node is up is shown, and decides nothing"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let state = State {
        spec: spec.clone(),
        boot_id: boot_id()?,
        supervisor: ProcessId::own().ok_or_else(unreadable)?,
        since: now.map_or(0, |since| since.as_secs()),
        sysctls: sysctl::save()?,
        cgroups: cgroup::folders(&spec.cgroup())?,
    };
    state.save(layout)?;
    Ok(state)
}

/// The error and its causes on a line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Sees to a registry on the host's loopback, and lets the machine reach it through the switch.
fn serve_registry(layout: &Layout, spec: &NodeSpec, networks: &Networks) -> Result<(), NodeError> {
    let port = spec.registry_port()?;
    let loopback = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    // One that is there already is as good: the node is to use this machine's registry, whoever runs it.
    if !registry_answers(loopback) {
        start_registry(layout, spec, loopback)?;
    }
    let address = SocketAddrV4::new(spec.addresses.gateway(), port);
    let listener = networks
        .switch
        .run(|| TcpListener::bind(address))?
        .map_err(|error| NodeError::Command {
            command: format!("listen on {address}"),
            output: error.to_string(),
        })?;
    thread::spawn(move || forward::forward(&listener, port));
    Ok(())
}

fn start_registry(
    layout: &Layout,
    spec: &NodeSpec,
    address: SocketAddrV4,
) -> Result<(), NodeError> {
    let name = spec.registry_command.join(" ");
    let fail = |output: &str| NodeError::Command {
        command: name.clone(),
        output: output.to_owned(),
    };
    if spec.registry_command.is_empty() {
        let none = format!("no registry answers on {address}, and no command says how to run one");
        return Err(NodeError::Spec(none));
    }
    let path = layout.log("registry");
    let log = File::create(&path).map_err(NodeError::io("write", &path))?;
    let (spec, command) = (spec.clone(), name.clone());
    // The thread lives as long as the supervisor: the registry dies with the thread that started it.
    thread::spawn(move || {
        loop {
            let ended = log.try_clone().and_then(|error_log| {
                internal::command(Role::Exec, &spec)
                    .args(&spec.registry_command)
                    .args(["--listen", &address.to_string()])
                    .stdout(log.try_clone()?)
                    .stderr(error_log)
                    .status()
            });
            note(&format!("{command}: {ended:?}"));
            thread::sleep(RESTART);
        }
    });
    let deadline = Instant::now() + REGISTRY_START;
    while !registry_answers(address) {
        if Instant::now() > deadline {
            return Err(fail(&format!("does not answer on {address}")));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Starts the machine, and again whenever it ends after its cluster was once made.
fn run_machine(
    layout: &Layout,
    spec: &NodeSpec,
    state: &State,
    networks: &Networks,
) -> Result<(), NodeError> {
    rootfs::prepare(layout, spec)?;
    thread::scope(|scope| {
        let machine = scope.spawn(|| {
            networks
                .machine
                .enter()
                .map_err(NodeError::io("enter network namespace", layout.data()))?;
            loop {
                cgroup::remove(&state.cgroups, Instant::now() + CGROUP_DRAIN)?;
                cgroup::make(&state.cgroups)?;
                let status = internal::command(Role::Launch, spec)
                    .status()
                    .map_err(NodeError::io("launch", layout.data()))?;
                note(&format!("the machine ended: {status}"));
                if !layout.in_machine(INITIALISED).exists() {
                    return Err(NodeError::Command {
                        command: "the machine".to_owned(),
                        output: status.to_string(),
                    });
                }
                thread::sleep(RESTART);
            }
        });
        machine.join().unwrap_or_else(|_| {
            Err(NodeError::Command {
                command: "the machine's thread".to_owned(),
                output: "panicked".to_owned(),
            })
        })
    })
}

/// A line for the supervisor's log, which is its standard error.
fn note(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
