//! A pod's failure with what a user needs to understand it.

use std::fmt;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, LogParams};

use crate::trouble::trouble;
use crate::{Cluster, KubeError};

/// How many of the newest events are told.
const EVENTS: usize = 8;
/// How many of a log's last lines are told. Servers with several processes end with several tracebacks, of which
/// the last is often that of the master that gives up: fewer lines than this have hidden the cause.
const LOG_LINES: i64 = 200;

/// Why a pod, or a Job without one, failed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Failure {
    /// The pod; the Job where it has none.
    pub pod: String,
    /// The container, if one is to blame.
    pub container: Option<String>,
    /// Kubernetes' word and what it says about it.
    pub reason: String,
    /// The newest events about it, oldest first: `REASON: MESSAGE (xCOUNT)`.
    pub events: Vec<String>,
    /// The last lines that the container wrote, in the run that failed.
    pub last_log_lines: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.pod)?;
        if let Some(container) = &self.container {
            write!(f, " ({container})")?;
        }
        write!(f, ": {}", self.reason)?;
        for event in &self.events {
            write!(f, "\n  event: {event}")?;
        }
        for line in &self.last_log_lines {
            write!(f, "\n  | {line}")?;
        }
        Ok(())
    }
}

impl Cluster {
    /// What is to be told about a pod in trouble. `reason` stands in when its status names none.
    pub(crate) async fn failure(&self, namespace: &str, pod: &Pod, reason: &str) -> Failure {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let trouble = trouble(pod);
        let container = trouble
            .as_ref()
            .and_then(|trouble| trouble.container.clone())
            .or_else(|| unready_container(pod));
        let reason = match trouble {
            Some(trouble) if trouble.message.is_empty() => trouble.reason,
            Some(trouble) => format!("{}: {}", trouble.reason, trouble.message),
            None => reason.to_owned(),
        };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        // A report is better without its events or its log than not at all.
        let events = self.events_of(namespace, &uid).await.unwrap_or_default();
        let last_log_lines = match &container {
            Some(container) => self.last_lines(namespace, pod, container).await,
            None => Vec::new(),
        };
        Failure {
            pod: name,
            container,
            reason,
            events,
            last_log_lines,
        }
    }

    /// The newest events about the object of that UID, oldest first.
    pub(crate) async fn events_of(
        &self,
        namespace: &str,
        uid: &str,
    ) -> Result<Vec<String>, KubeError> {
        let about = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
        let events = self.namespaced::<Event>(namespace);
        let list = self.ask("list events", events.list(&about)).await?;
        Ok(newest(list.items, EVENTS))
    }

    async fn last_lines(&self, namespace: &str, pod: &Pod, container: &str) -> Vec<String> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let pods = self.namespaced::<Pod>(namespace);
        let waits_after_a_run = container_status(pod, container).is_some_and(|status| {
            status.restart_count > 0
                && status
                    .state
                    .as_ref()
                    .is_some_and(|state| state.waiting.is_some() || state.running.is_some())
        });
        let parameters = |previous| LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(LOG_LINES),
            previous,
            ..LogParams::default()
        };
        for previous in [waits_after_a_run, false] {
            let parameters = parameters(previous);
            let log = self.ask("read log", pods.logs(&name, &parameters)).await;
            if let Ok(log) = log
                && !log.trim().is_empty()
            {
                return log.lines().map(str::to_owned).collect();
            }
        }
        Vec::new()
    }
}

/// The newest `count` events in the order of time, one line each.
pub(crate) fn newest(mut events: Vec<Event>, count: usize) -> Vec<String> {
    events.sort_by_key(event_time);
    let skipped = events.len().saturating_sub(count);
    events
        .into_iter()
        .skip(skipped)
        .map(|event| describe(&event))
        .collect()
}

/// When an event was seen last.
pub(crate) fn event_time(event: &Event) -> Option<k8s_openapi::jiff::Timestamp> {
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let micro = event.event_time.as_ref().map(|time| time.0);
    let created = event
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    last.or(micro).or(created)
}

fn describe(event: &Event) -> String {
    let reason = event.reason.as_deref().unwrap_or_default();
    let message = event.message.as_deref().unwrap_or_default().trim();
    match event.count {
        Some(count) if count > 1 => format!("{reason}: {message} (x{count})"),
        _ => format!("{reason}: {message}"),
    }
}

pub(crate) fn container_status<'a>(
    pod: &'a Pod,
    container: &str,
) -> Option<&'a k8s_openapi::api::core::v1::ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    let main = status.container_statuses.iter().flatten();
    init.chain(main).find(|status| status.name == container)
}

/// The first container that is not ready though it runs: its probes fail.
fn unready_container(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let unready = statuses.iter().find(|status| !status.ready)?;
    Some(unready.name.clone())
}
