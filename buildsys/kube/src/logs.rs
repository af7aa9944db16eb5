//! Logs of the pods that a selector selects.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;

use crate::follow::Followers;
use crate::{Cluster, KubeError};

/// How often new pods are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// A line that a container wrote.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LogLine {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// What it wrote, without line end.
    pub text: String,
}

/// Which part of the logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRequest {
    /// Only the container of this name.
    pub container: Option<String>,
    /// So many of the last lines of each container; all where none.
    pub tail: Option<u64>,
    /// Only what was written in so many last seconds.
    pub since: Option<u64>,
    /// What the run before of each container wrote, instead of this one's.
    pub previous: bool,
    /// Wait for what comes, from pods that come as well, for ever.
    pub follow: bool,
}

impl Cluster {
    /// Hands the logs of the selected pods to `on_line`; false from it ends that. Without
    /// [`LogRequest::follow`] the pods come one after another, oldest first. That no pod is selected is an
    /// error unless it follows.
    pub async fn logs(
        &self,
        namespace: &str,
        selector: &str,
        request: &LogRequest,
        mut on_line: impl FnMut(LogLine) -> bool,
    ) -> Result<(), KubeError> {
        let pods = self.raw_pods(namespace, selector).await?;
        if !request.follow {
            if pods.is_empty() {
                let what = format!("a pod {selector} in {namespace}");
                return Err(KubeError::Missing { what });
            }
            return self.read_logs(namespace, &pods, request, on_line).await;
        }
        let mut followers = Followers::new(self, namespace);
        followers.since = request.since;
        let container = request.container.as_deref();
        followers.update(&pods, container, request.tail);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                line = followers.next() => if !on_line(line) {
                    return Ok(());
                },
                _ = look.tick() => match self.raw_pods(namespace, selector).await {
                    Ok(pods) => followers.update(&pods, container, request.tail),
                    // It may come back; what is followed is followed.
                    Err(error) if error.is_unreachable() => {}
                    Err(error) => return Err(error),
                },
            }
        }
    }

    async fn read_logs(
        &self,
        namespace: &str,
        pods: &[Pod],
        request: &LogRequest,
        mut on_line: impl FnMut(LogLine) -> bool,
    ) -> Result<(), KubeError> {
        let api = self.namespaced::<Pod>(namespace);
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            for container in containers.map(|container| &container.name) {
                if request
                    .container
                    .as_ref()
                    .is_some_and(|only| only != container)
                {
                    continue;
                }
                let parameters = LogParams {
                    container: Some(container.clone()),
                    tail_lines: request.tail.and_then(|lines| i64::try_from(lines).ok()),
                    since_seconds: request
                        .since
                        .and_then(|seconds| i64::try_from(seconds).ok()),
                    previous: request.previous,
                    ..LogParams::default()
                };
                let action = format!("read the log of {namespace}/{name} ({container})");
                let log = match self.ask(&action, api.logs(&name, &parameters)).await {
                    // It has not started yet, or never before: it has no log.
                    Err(KubeError::Refused { code: 400, .. }) => continue,
                    log => log?,
                };
                for text in log.lines() {
                    let line = LogLine {
                        pod: name.clone(),
                        container: container.clone(),
                        text: text.to_owned(),
                    };
                    if !on_line(line) {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }
}
