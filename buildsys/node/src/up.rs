//! Brings a node up.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::ApiServer;
use crate::follow::Following;
use crate::internal::{self, Role};
use crate::layout::{INITIALISED, Layout};
use crate::process::supervised;
use crate::state::{State, read_json, write_json, write_whole};
use crate::{Deadlines, NodeError, NodeSpec, Observer, Phase, clean, network};

/// How a node came to be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpOutcome {
    /// It was, as asked for.
    AlreadyUp,
    /// Another `up`, interrupted or still at it, had begun; this one saw it through.
    Continued,
    /// Its machine was started again, after its supervisor or this machine had stopped. Its cluster is the one
    /// it was.
    Restarted,
    /// A new cluster was made.
    Created,
}

/// Makes sure that a node of `spec` is up: its Node Ready, CoreDNS and kube-proxy running, `DATA/kubeconfig`
/// there. A node that already is so costs no more than asking its API server. Fails when a node of the same
/// data folder was made from something else. After a failure nothing of a new machine is left but its logs; one
/// that passes a deadline after its control plane came up goes on running, and `up` can be called again.
pub fn up(
    spec: &NodeSpec,
    deadlines: &Deadlines,
    observer: &mut dyn Observer,
) -> Result<UpOutcome, NodeError> {
    spec.validate()?;
    let layout = Layout::new(&spec.data);
    if is_up(&layout, spec)? {
        return Ok(UpOutcome::AlreadyUp);
    }
    check_machine()?;
    fs::create_dir_all(layout.data()).map_err(NodeError::io("make folder", layout.data()))?;
    let _lock = lock(&layout)?;
    if is_up(&layout, spec)? {
        return Ok(UpOutcome::AlreadyUp);
    }
    let mut following = Following::new(&layout, &spec.name, observer);
    let outcome = begin(&layout, spec, &mut following)?;
    let done = see_through(&layout, spec, deadlines, &mut following);
    if let Err(error) = done {
        // Once the supervisor has given up, nobody else takes away what it held.
        if let Some(state) = State::load(&layout)?.filter(|state| !state.is_alive()) {
            clean::release(&layout, &state)?;
        }
        return Err(error);
    }
    Ok(outcome)
}

/// Holds off every other `up` and `down` of the node while it is open.
pub(crate) fn lock(layout: &Layout) -> Result<File, NodeError> {
    let path = layout.lock();
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(NodeError::io("open", &path))?;
    file.lock().map_err(NodeError::io("lock", &path))?;
    Ok(file)
}

/// Whether this process may do it, and this machine has what is needed.
pub(crate) fn check_machine() -> Result<(), NodeError> {
    if !rustix::process::geteuid().is_root() {
        return Err(NodeError::NotRoot);
    }
    network::check_iproute()
}

fn is_up(layout: &Layout, spec: &NodeSpec) -> Result<bool, NodeError> {
    let Some(state) = State::load(layout)?.filter(State::is_alive) else {
        return Ok(false);
    };
    let labels: Option<BTreeMap<String, String>> = read_json(&layout.ready())?;
    Ok(spec.same_machine(&state.spec)
        && labels.as_ref() == Some(&spec.labels)
        && connect(layout, spec)?.is_ready())
}

fn connect(layout: &Layout, spec: &NodeSpec) -> Result<ApiServer, NodeError> {
    let path = layout.kubeconfig();
    let kubeconfig = fs::read_to_string(&path).map_err(NodeError::io("read", &path))?;
    ApiServer::new(spec.addresses.api_server(), &kubeconfig)
}

/// Starts a supervisor, unless one is there.
fn begin(
    layout: &Layout,
    spec: &NodeSpec,
    following: &mut Following<'_>,
) -> Result<UpOutcome, NodeError> {
    let differs = || NodeError::Differs {
        name: spec.name.clone(),
    };
    let state = State::load(layout)?;
    if let Some(state) = state.as_ref().filter(|state| state.is_alive()) {
        return if spec.same_machine(&state.spec) {
            Ok(UpOutcome::Continued)
        } else {
            Err(differs())
        };
    }
    let made: Option<NodeSpec> = read_json(&layout.spec())?;
    let made = made.filter(|_| layout.in_machine(INITIALISED).exists());
    if made.as_ref().is_some_and(|made| !spec.same_machine(made)) {
        return Err(differs());
    }
    following.begin(Phase::Clean);
    if let Some(state) = state {
        clean::release(layout, &state)?;
    }
    if made.is_none() {
        clean::remove_data(layout)?;
    }
    following.finish(Phase::Clean);
    check_alone(layout, spec)?;
    start_supervisor(layout, spec)?;
    Ok(match made {
        Some(_) => UpOutcome::Restarted,
        None => UpOutcome::Created,
    })
}

/// Fails when a node of another data folder has this one's name or addresses.
fn check_alone(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    let own = layout.data().canonicalize().ok();
    for data in supervised() {
        if data.canonicalize().ok() == own {
            continue;
        }
        let Some(other) = State::load(&Layout::new(&data))? else {
            continue;
        };
        if other.spec.name == spec.name || other.spec.addresses == spec.addresses {
            return Err(NodeError::Taken {
                name: other.spec.name,
                data,
            });
        }
    }
    Ok(())
}

fn start_supervisor(layout: &Layout, spec: &NodeSpec) -> Result<(), NodeError> {
    write_json(&layout.spec(), spec)?;
    let path = layout.log("supervisor");
    let folder = path.parent().unwrap_or(layout.data());
    fs::create_dir_all(folder).map_err(NodeError::io("make folder", folder))?;
    let log = File::create(&path).map_err(NodeError::io("write", &path))?;
    let copy = log.try_clone().map_err(NodeError::io("write", &path))?;
    let status = internal::command(Role::Detach, spec)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(copy)
        .status()
        .map_err(NodeError::io("run", Path::new("/proc/self/exe")))?;
    if status.success() {
        return Ok(());
    }
    Err(NodeError::Command {
        command: "the node's supervisor".to_owned(),
        output: format!("{status}: {}", crate::follow::tail(&path).join("\n")),
    })
}

fn see_through(
    layout: &Layout,
    spec: &NodeSpec,
    deadlines: &Deadlines,
    following: &mut Following<'_>,
) -> Result<(), NodeError> {
    let supervisor = layout.log("supervisor");
    following.wait_for(Phase::Network, deadlines.network, &supervisor)?;
    let registry = layout.log("registry");
    following.wait_for(Phase::Registry, deadlines.network, &registry)?;
    if !layout.boot().exists() {
        following.begin(Phase::Images);
        following.push_images(&spec.registry)?;
        following.finish(Phase::Images);
        write_whole(&layout.boot(), b"", 0o644)?;
    }
    let containerd = layout.machine_log("containerd");
    following.wait_for(Phase::Machine, deadlines.machine, &containerd)?;
    let kubeadm = layout.machine_log("kubeadm");
    following.wait_for(Phase::ControlPlane, deadlines.control_plane, &kubeadm)?;
    let admin = layout.in_machine("etc/kubernetes/admin.conf");
    let kubeconfig = fs::read(&admin).map_err(NodeError::io("read", &admin))?;
    write_whole(&layout.kubeconfig(), &kubeconfig, 0o600)?;
    await_node(layout, spec, deadlines, following)?;
    write_json(&layout.ready(), &spec.labels)
}

const COREDNS: &str = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";

/// kubeadm's CoreDNS is for clusters: a second replica on one node saves nothing, and a probe each 10 s lets
/// every pod wait that long for names once it has failed, as it does while kube-proxy starts.
fn coredns_change() -> Value {
    let container = json!({"name": "coredns", "readinessProbe": {"periodSeconds": 1}});
    json!({"spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}}})
}

/// Waits for the Node and what every cluster runs.
fn await_node(
    layout: &Layout,
    spec: &NodeSpec,
    deadlines: &Deadlines,
    following: &mut Following<'_>,
) -> Result<(), NodeError> {
    let api = connect(layout, spec)?;
    let since = State::load(layout)?.map_or(0, |state| state.since);
    let since = rfc3339(since);
    let log = layout.machine_log("kubelet");
    let node = format!("/api/v1/nodes/{}", spec.name);
    following.wait_until(Phase::Ready, deadlines.ready, &log, |_| {
        // Until the API server is back after a restart there is nothing to ask.
        let ready = api.get(&node).is_ok_and(|node| is_ready(&node, &since));
        Ok(ready.then_some(()))
    })?;
    api.merge(&node, &json!({"metadata": {"labels": spec.labels}}))?;
    api.merge(COREDNS, &coredns_change())?;
    let pods = "/api/v1/namespaces/kube-system/pods";
    let mut said = String::new();
    let mut asked: Option<Instant> = None;
    following.wait_until(Phase::Addons, deadlines.addons, &log, |following| {
        if asked.is_some_and(|asked| asked.elapsed() < Duration::from_millis(100)) {
            return Ok(None);
        }
        asked = Some(Instant::now());
        let Ok(list) = api.get(pods) else {
            return Ok(None);
        };
        let waiting = addons_waiting(&list, &since);
        if !waiting.is_empty() && waiting != said {
            following.progress(Phase::Addons, format!("waiting for {waiting}"));
            said.clone_from(&waiting);
        }
        Ok(waiting.is_empty().then_some(()))
    })
}

/// Whether the Node is Ready by a report of its kubelet's that is no older than `since`: what the API server
/// says after a restart is at first what was so before.
fn is_ready(node: &Value, since: &str) -> bool {
    conditions(node).any(|condition| {
        condition["type"] == "Ready"
            && condition["status"] == "True"
            && condition["lastHeartbeatTime"]
                .as_str()
                .is_some_and(|time| time >= since)
    })
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
}

/// Names of the addons of which some pod does not run since `since`; empty when all do.
fn addons_waiting(pods: &Value, since: &str) -> String {
    let runs = |pod: &Value| {
        let ready = conditions(pod).any(|c| c["type"] == "Ready" && c["status"] == "True");
        let containers = pod["status"]["containerStatuses"].as_array();
        ready
            && containers.into_iter().flatten().all(|container| {
                container["state"]["running"]["startedAt"]
                    .as_str()
                    .is_some_and(|time| time >= since)
            })
    };
    let addons = [("kube-dns", "CoreDNS"), ("kube-proxy", "kube-proxy")];
    let waiting = addons.into_iter().filter(|(label, _)| {
        let of_addon = |pod: &&Value| pod["metadata"]["labels"]["k8s-app"] == *label;
        let mut pods = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(of_addon)
            .peekable();
        pods.peek().is_none() || !pods.all(runs)
    });
    waiting
        .map(|(_, name)| name)
        .collect::<Vec<_>>()
        .join(" and ")
}

/// `seconds` since 1970 as the API server writes times (RFC 3339, UTC, whole seconds), which sort as text.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days, in years that begin in March so that the leap day comes last.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}
