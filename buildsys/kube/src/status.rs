//! A namespace on a screen.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Event, Secret};
use kube::api::ListParams;

use crate::failure::newest;
use crate::{Cluster, JobView, KubeError, PodView, ReleaseState, WorkloadProgress};

/// How many of the newest warnings are shown.
const WARNINGS: usize = 10;

/// A namespace on a screen: bounded, and asked for once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct NamespaceStatus {
    /// Its name.
    pub namespace: String,
    /// Its releases by name.
    pub releases: BTreeMap<String, ReleaseState>,
    /// Its releases' workloads.
    pub workloads: Vec<WorkloadProgress>,
    /// Its pods, oldest first, but for those of Jobs that succeeded.
    pub pods: Vec<PodView>,
    /// Its Jobs, oldest first.
    pub jobs: Vec<JobView>,
    /// The newest warning events, oldest first: `REASON: MESSAGE (xCOUNT)`.
    pub warnings: Vec<String>,
}

impl Cluster {
    /// How a namespace does. One that is not there is empty.
    pub async fn status(&self, namespace: &str) -> Result<NamespaceStatus, KubeError> {
        let (releases, workloads, pods, jobs, warnings) = tokio::try_join!(
            self.releases(namespace),
            Box::pin(self.workloads(namespace, None)),
            self.pods(namespace, ""),
            self.jobs(namespace, ""),
            self.warnings(namespace),
        )?;
        Ok(NamespaceStatus {
            namespace: namespace.to_owned(),
            releases,
            workloads,
            pods: pods
                .into_iter()
                .filter(|pod| pod.phase != "Succeeded")
                .collect(),
            jobs,
            warnings,
        })
    }

    async fn releases(&self, namespace: &str) -> Result<BTreeMap<String, ReleaseState>, KubeError> {
        let secrets = self.namespaced::<Secret>(namespace);
        let of_helm = ListParams::default().labels("owner=helm");
        let action = format!("list releases in {namespace}");
        let list = self.ask(&action, secrets.list_metadata(&of_helm)).await?;
        let names: BTreeSet<String> = list
            .items
            .iter()
            .filter_map(|item| item.metadata.labels.as_ref()?.get("name").cloned())
            .collect();
        let mut releases = BTreeMap::new();
        for name in names {
            if let Some(state) = self.release_state(namespace, &name).await? {
                releases.insert(name, state);
            }
        }
        Ok(releases)
    }

    async fn warnings(&self, namespace: &str) -> Result<Vec<String>, KubeError> {
        let events = self.namespaced::<Event>(namespace);
        let warnings = ListParams::default().fields("type=Warning");
        let action = format!("list events in {namespace}");
        let list = self.ask(&action, events.list(&warnings)).await?;
        Ok(newest(list.items, WARNINGS))
    }
}
