//! `tbuild status`: the deployed releases on one screen, asked for once, until all is ready, or for ever.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tbuild_kube::{Cluster, Drift, KubeError, NamespaceStatus};

use crate::args::Global;
use crate::engine::{Engine, kubeconfigs};
use crate::error::{CliError, chain};
use crate::output::line;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Wait so many seconds at most until everything is ready
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Show it again at each change, until Ctrl-C
    #[arg(long, conflicts_with_all = ["wait", "drift"])]
    watch: bool,
    /// Say what differs from what the releases applied; exit status 1 where something does
    #[arg(long)]
    pub drift: bool,
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

/// How long ago a time was, in seconds since 1970.
pub fn ago(time: Option<u64>) -> String {
    let Some(time) = time else {
        return "nobody knows when".to_owned();
    };
    let seconds = now().saturating_sub(time);
    let (count, unit) = match seconds {
        0..60 => (seconds, "s"),
        60..3600 => (seconds / 60, "min"),
        3600..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit} ago")
}

#[expect(clippy::disallowed_methods, reason = "nothing is built here")]
fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What is seen at once of all namespaces.
async fn look(cluster: &Cluster, namespaces: &BTreeSet<&str>) -> Result<Seen, CliError> {
    let mut seen = Seen::default();
    for namespace in namespaces {
        let (status, urls) = tokio::join!(cluster.status(namespace), cluster.addresses(namespace));
        seen.namespaces
            .push(status.map_err(|error| failure(&error))?);
        // Who may not list Services sees the rest.
        seen.urls.extend(urls.unwrap_or_default());
    }
    Ok(seen)
}

/// The whole screen.
#[derive(Debug, Default, serde::Serialize)]
struct Seen {
    /// Where the site is.
    urls: Vec<String>,
    /// What is in each namespace.
    namespaces: Vec<NamespaceStatus>,
    /// What differs from what was applied; only where that was asked for.
    drift: Vec<Drift>,
}

impl Seen {
    fn is_ready(&self) -> bool {
        self.namespaces.iter().all(|one| {
            !one.workloads.is_empty() && one.workloads.iter().all(|workload| workload.done)
        })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.namespaces.iter().flat_map(show).collect();
        lines.extend(self.urls.iter().map(|url| format!("site: {url}")));
        lines.extend(self.drift.iter().map(told));
        lines
    }
}

/// A difference, in words.
fn told(drift: &Drift) -> String {
    let Drift {
        object,
        path,
        is,
        applied,
    } = drift;
    match (path.as_str(), is.is_null(), applied.is_null()) {
        ("", true, _) => format!("drift: {object} is gone"),
        ("", false, _) => format!("drift: {object} cannot be made what it was: {is}"),
        (path, true, _) => format!("drift: {object}: {path} is gone, was applied as {applied}"),
        (path, false, true) => format!("drift: {object}: {path} is {is}, was not applied"),
        (path, false, false) => {
            format!("drift: {object}: {path} is {is}, was applied as {applied}")
        }
    }
}

/// How each release differs from what helm applied last.
async fn drift(global: &Global, cluster: &Cluster) -> Result<Vec<Drift>, CliError> {
    let engine = Engine::new(&global.for_document(), Project::load(global)?)?;
    let helm = super::tool::helm(&engine).await?;
    let mut found = Vec::new();
    for (name, release) in &engine.project.config.releases {
        let state = cluster
            .release_state(&release.namespace, name)
            .await
            .map_err(|error| failure(&error))?;
        if state.is_none() {
            continue;
        }
        let documents = helm
            .manifest(name, &release.namespace)
            .await
            .map_err(|error| CliError::failed(chain(&error)))?;
        let drift = cluster
            .drift(&release.namespace, &documents)
            .await
            .map_err(|error| failure(&error))?;
        found.extend(drift);
    }
    Ok(found)
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
    if arguments.watch {
        return watch(&cluster, &namespaces).await;
    }
    let deadline = Instant::now() + Duration::from_secs(arguments.wait.unwrap_or(0));
    loop {
        let mut seen = look(&cluster, &namespaces).await?;
        let ready = seen.is_ready();
        if ready || Instant::now() >= deadline {
            if arguments.drift {
                seen.drift = drift(global, &cluster).await?;
            }
            if global.json {
                crate::output::json(&seen);
            } else {
                seen.lines().iter().for_each(line);
                if arguments.drift && seen.drift.is_empty() {
                    line("no drift: what is there is what was applied");
                }
            }
            return Ok(u8::from(!ready || !seen.drift.is_empty()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Shows the screen again and again on a terminal; elsewhere each line that is new.
async fn watch(cluster: &Cluster, namespaces: &BTreeSet<&str>) -> Result<u8, CliError> {
    use std::io::{IsTerminal as _, Write as _};
    let terminal = std::io::stdout().is_terminal();
    let mut last: Vec<String> = Vec::new();
    loop {
        let lines = look(cluster, namespaces).await?.lines();
        if lines != last {
            let text: Vec<&str> = if terminal {
                lines.iter().map(String::as_str).collect()
            } else {
                let new = lines.iter().filter(|line| !last.contains(line));
                new.map(String::as_str).collect()
            };
            let home = if terminal { "\x1b[H\x1b[2J" } else { "" };
            let mut out = std::io::stdout().lock();
            let mut text = text.join("\n");
            if !text.is_empty() {
                text.push('\n');
            }
            // A reader that went away ends it quietly.
            if write!(out, "{home}{text}")
                .and_then(|()| out.flush())
                .is_err()
            {
                return Ok(0);
            }
            last = lines;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn show(status: &NamespaceStatus) -> Vec<String> {
    let mut lines = vec![format!("namespace {}", status.namespace)];
    for (name, state) in &status.releases {
        lines.push(format!(
            "  release {name:<18} revision {} {}",
            state.revision, state.status
        ));
    }
    for workload in &status.workloads {
        let mark = if workload.done { "ready" } else { "NOT READY" };
        let kind = workload.kind.to_string();
        lines.push(format!(
            "  {kind:<11} {:<22} {}/{} {mark}",
            workload.name, workload.ready, workload.desired
        ));
    }
    for pod in &status.pods {
        if let Some(trouble) = &pod.trouble {
            lines.push(format!(
                "  pod {} is {}: {} {}",
                pod.name, pod.phase, trouble.reason, trouble.message
            ));
        }
    }
    for job in status.jobs.iter().filter(|job| job.task.is_some()) {
        let time = job.completed.or(job.created);
        lines.push(format!(
            "  task {:<21} {} {}",
            job.task.as_deref().unwrap_or_default(),
            job.state,
            ago(time.and_then(|time| u64::try_from(time).ok()))
        ));
    }
    for warning in &status.warnings {
        lines.push(format!("  warning: {warning}"));
    }
    lines
}
