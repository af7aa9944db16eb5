//! What a step's container is: everything that the engine sees to.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    ResourcesUlimits,
};
use tbuild_exec::{Action, Limits, Network, Ulimit};
use tbuild_sandbox::container::{Allowed, FOLDER, Launch, SOCKET};

use super::LABEL;
use super::container::owner;
use super::empty::EMPTY;

/// Over how long processor time is counted, in microseconds.
const PERIOD: i64 = 100_000;
/// Capabilities that older engines do not know. Who has CAP_SYS_ADMIN may do what they allow (capabilities(7)).
const NEW: [&str; 3] = ["CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE"];
/// The init is a process, too.
const OWN_PROCESSES: u64 = 1;

/// The container for `action`, whose init is started by `launch` and finds its socket in `folder`.
pub(super) fn body(
    action: &Action,
    launch: &Launch,
    folder: &Path,
) -> io::Result<ContainerCreateBody> {
    let allowed = Allowed::of(action)?;
    let mut files = launch.files();
    files.push((folder.join(SOCKET), format!("{FOLDER}/{SOCKET}")));
    let mounts: io::Result<Vec<Mount>> = files
        .iter()
        .map(|(source, target)| bind(source, target, !target.ends_with(SOCKET)))
        .collect();
    let network = match &action.network {
        Network::None | Network::Served(_) => "none",
        Network::Host => "host",
    };
    let mut host = HostConfig {
        auto_remove: Some(true),
        // Daemons may have others as their defaults.
        init: Some(false),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        ipc_mode: Some("private".to_owned()),
        userns_mode: Some("host".to_owned()),
        network_mode: Some(network.to_owned()),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        mounts: Some(mounts?),
        ulimits: Some(allowed.ulimits.iter().filter_map(ulimit).collect()),
        oom_score_adj: Some(allowed.oom_score),
        ..HostConfig::default()
    };
    if network == "none" {
        // Engines give containers others than the kernel's own.
        let own = [
            ("net.ipv4.ip_unprivileged_port_start", "1024"),
            ("net.ipv4.ping_group_range", "1 0"),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        host.sysctls = Some(HashMap::from(own));
    }
    host.cap_drop = Some(vec!["ALL".to_owned()]);
    let known = |name: &String| !NEW.contains(&name.as_str());
    host.cap_add = Some(allowed.capabilities.into_iter().filter(known).collect());
    let mut security = vec!["label=disable".to_owned()];
    if let Some(filter) = allowed.seccomp {
        security.push("no-new-privileges".to_owned());
        security.push(format!("seccomp={filter}"));
    } else {
        // What an engine calls privileged is more than this machine's root may have.
        security.push("seccomp=unconfined".to_owned());
        security.push("apparmor=unconfined".to_owned());
        host.device_cgroup_rules = Some(vec!["a *:* rwm".to_owned()]);
    }
    host.security_opt = Some(security);
    Ok(ContainerCreateBody {
        image: Some(EMPTY.to_owned()),
        entrypoint: Some(launch.command()),
        cmd: Some(Vec::new()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        hostname: Some(action.hostname.clone()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        labels: Some(HashMap::from([(LABEL.to_owned(), owner()?)])),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

fn bind(source: &Path, target: &str, read_only: bool) -> io::Result<Mount> {
    let Some(source) = source.to_str() else {
        let what = format!("the name of {} is not UTF-8", source.display());
        return Err(io::Error::other(what));
    };
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    })
}

/// The engine's form of a limit; none for the one that it does not know, which the init sets itself.
fn ulimit(limit: &Ulimit) -> Option<ResourcesUlimits> {
    let number = |value: Option<u64>| value.and_then(|value| value.try_into().ok()).unwrap_or(-1);
    (limit.name != "as").then(|| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(number(limit.soft)),
        hard: Some(number(limit.hard)),
    })
}

/// What the container may use, once its init is the only process in it: what starts it may need more.
pub(super) fn limits(limits: &Limits) -> Option<ContainerUpdateBody> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let memory = limits.memory.map(number);
    let processes = |pids: u64| number(pids.saturating_add(OWN_PROCESSES));
    // Less than a thousandth of a second is refused.
    let quota = |cpus| number(cpus).saturating_mul(PERIOD / 1000).max(1000);
    limits.need_cgroup().then(|| ContainerUpdateBody {
        memory,
        // With swap: as much, so none.
        memory_swap: memory,
        pids_limit: limits.pids.map(processes),
        cpu_period: limits.cpus.map(|_| PERIOD),
        cpu_quota: limits.cpus.map(quota),
        ..ContainerUpdateBody::default()
    })
}
