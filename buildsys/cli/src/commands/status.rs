//! `tbuild status`: the deployed releases on one screen, asked for once or until all is ready.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tbuild_kube::{Cluster, KubeError, NamespaceStatus};

use crate::args::Global;
use crate::engine::kubeconfigs;
use crate::error::{CliError, chain};
use crate::output::line;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Wait so many seconds at most until everything is ready
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// What a cluster says no to, or that it is not there.
pub fn failure(error: &KubeError) -> CliError {
    if error.is_unreachable() {
        CliError::unreachable(chain(error))
            .hint("`tbuild node up` brings up a cluster on this machine")
    } else {
        CliError::failed(chain(error))
    }
}

/// The cluster that the options and the environment name.
pub async fn connect(global: &Global) -> Result<Cluster, CliError> {
    Cluster::connect(&kubeconfigs(global), None)
        .await
        .map_err(|error| failure(&error))
}

/// Label selector and namespace of a component of tbuild.toml.
pub fn component(project: &Project, name: &str) -> Result<(String, String), CliError> {
    let component = project.config.components.get(name).ok_or_else(|| {
        let known: Vec<&str> = project
            .config
            .components
            .keys()
            .map(String::as_str)
            .collect();
        CliError::usage(format!("there is no component {name} in tbuild.toml"))
            .hint(format!("components: {}", known.join(", ")))
    })?;
    let release = project.config.releases.get(&component.release.value);
    let namespace =
        release.map_or_else(|| "default".to_owned(), |release| release.namespace.clone());
    Ok((namespace, component.selector.value.clone()))
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let namespaces: BTreeSet<&str> = project
        .config
        .releases
        .values()
        .map(|release| release.namespace.as_str())
        .collect();
    let cluster = connect(global).await?;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait.unwrap_or(0));
    loop {
        let mut seen = Vec::new();
        for namespace in &namespaces {
            seen.push(
                cluster
                    .status(namespace)
                    .await
                    .map_err(|error| failure(&error))?,
            );
        }
        let ready = seen.iter().all(|one| {
            !one.workloads.is_empty() && one.workloads.iter().all(|workload| workload.done)
        });
        if ready || Instant::now() >= deadline {
            if global.json {
                crate::output::json(&seen);
            } else {
                seen.iter().for_each(show);
            }
            return Ok(u8::from(!ready));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn show(status: &NamespaceStatus) {
    line(format!("namespace {}", status.namespace));
    for (name, state) in &status.releases {
        line(format!(
            "  release {name:<18} revision {} {}",
            state.revision, state.status
        ));
    }
    for workload in &status.workloads {
        let mark = if workload.done { "ready" } else { "NOT READY" };
        let kind = workload.kind.to_string();
        line(format!(
            "  {kind:<11} {:<22} {}/{} {mark}",
            workload.name, workload.ready, workload.desired
        ));
    }
    for pod in &status.pods {
        if let Some(trouble) = &pod.trouble {
            line(format!(
                "  pod {} is {}: {} {}",
                pod.name, pod.phase, trouble.reason, trouble.message
            ));
        }
    }
    for job in status.jobs.iter().filter(|job| job.task.is_some()) {
        line(format!(
            "  task {:<21} {}",
            job.task.as_deref().unwrap_or_default(),
            job.state
        ));
    }
    for warning in &status.warnings {
        line(format!("  warning: {warning}"));
    }
}
