//! Workloads started again, a pod at a time as their strategy says.

use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Resource};
use serde_json::json;

use crate::{Cluster, KubeError, WorkloadKind, WorkloadProgress};

/// The annotation by which kubectl, too, makes a template a new one.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";
/// How often the workloads are looked at.
const LOOK: Duration = Duration::from_millis(300);

impl Cluster {
    /// Makes new templates of the workloads that `selector` selects, so that each replaces its pods as its own
    /// strategy says; which they are.
    pub async fn restart(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<(WorkloadKind, String)>, KubeError> {
        let mut found = Vec::new();
        for (kind, names) in [
            (
                WorkloadKind::Deployment,
                self.touch::<Deployment>(namespace, selector).await?,
            ),
            (
                WorkloadKind::StatefulSet,
                self.touch::<StatefulSet>(namespace, selector).await?,
            ),
            (
                WorkloadKind::DaemonSet,
                self.touch::<DaemonSet>(namespace, selector).await?,
            ),
        ] {
            found.extend(names.into_iter().map(|name| (kind, name)));
        }
        Ok(found)
    }

    async fn touch<K>(&self, namespace: &str, selector: &str) -> Result<Vec<String>, KubeError>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + std::fmt::Debug,
        K: serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.namespaced(namespace);
        let selected = ListParams::default().labels(selector);
        let action = format!("list workloads {selector} in {namespace}");
        let list = self.ask(&action, api.list_metadata(&selected)).await?;
        let now = Timestamp::now().to_string();
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED: now}}}}});
        let patch = Patch::Merge(&patch);
        let mut names = Vec::new();
        for name in list.items.into_iter().filter_map(|one| one.metadata.name) {
            let action = format!("restart {namespace}/{name}");
            let parameters = PatchParams::default();
            let patched = api.patch(&name, &parameters, &patch);
            self.ask(&action, patched).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Waits until workloads are done, at most `deadline`; those that are not then. `on_change` hears of each
    /// change.
    pub async fn await_workloads(
        &self,
        namespace: &str,
        wanted: &[(WorkloadKind, String)],
        deadline: Duration,
        mut on_change: impl FnMut(&[WorkloadProgress]),
    ) -> Result<Vec<WorkloadProgress>, KubeError> {
        let began = Instant::now();
        let mut last = Vec::new();
        loop {
            let mut now = Box::pin(self.workloads(namespace, None)).await?;
            now.retain(|one| wanted.contains(&(one.kind, one.name.clone())));
            if now != last {
                on_change(&now);
                last.clone_from(&now);
            }
            now.retain(|one| !one.done);
            if now.is_empty() || began.elapsed() >= deadline {
                return Ok(now);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
