//! Pods as they are shown.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::ListParams;

use crate::trouble::trouble;
use crate::{Cluster, KubeError, Trouble};

/// A pod as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`; `Terminating` once it is deleted.
    pub phase: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// The node that it is on.
    pub node: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// Its containers, in the order of their specification.
    pub containers: Vec<ContainerView>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// A container as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// The image as the pod names it.
    pub image: String,
    /// Digest of the image that runs, `sha256:...`; none before it was pulled.
    pub digest: Option<String>,
    /// Whether its probes are content.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
}

impl PodView {
    pub(crate) fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let phase = match (&pod.metadata.deletion_timestamp, status) {
            (Some(_), _) => "Terminating".to_owned(),
            (None, status) => status
                .and_then(|status| status.phase.clone())
                .unwrap_or_default(),
        };
        let statuses = status.and_then(|status| status.container_statuses.as_ref());
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase,
            ready: is_ready(pod),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            address: status.and_then(|status| status.pod_ip.clone()),
            created: pod
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0.as_second()),
            containers: containers
                .map(|container| {
                    let of_name = |status: &&ContainerStatus| status.name == container.name;
                    let status = statuses.and_then(|all| all.iter().find(of_name));
                    ContainerView {
                        name: container.name.clone(),
                        image: container.image.clone().unwrap_or_default(),
                        digest: status.and_then(|status| digest(&status.image_id)),
                        ready: status.is_some_and(|status| status.ready),
                        restarts: status.map_or(0, |status| status.restart_count),
                    }
                })
                .collect(),
            trouble: trouble(pod),
        }
    }
}

/// The digest in an image ID such as `localhost:5000/x@sha256:...` or `sha256:...`.
fn digest(image_id: &str) -> Option<String> {
    let start = image_id.find("sha256:")?;
    Some(image_id[start..].to_owned())
}

/// Whether the pod's Ready condition holds.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
        && pod
            .status
            .iter()
            .filter_map(|status| status.conditions.as_ref())
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl Cluster {
    /// The pods that `selector` selects (all when it is empty), oldest first.
    pub async fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<PodView>, KubeError> {
        let pods = self.raw_pods(namespace, selector).await?;
        Ok(pods.iter().map(PodView::of).collect())
    }

    pub(crate) async fn raw_pods(
        &self,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Pod>, KubeError> {
        let selected = ListParams::default().labels(selector);
        let action = format!("list pods {selector} in {namespace}");
        let pods = self.namespaced::<Pod>(namespace);
        let mut pods = self.ask(&action, pods.list(&selected)).await?.items;
        pods.sort_by_key(|pod| {
            let created = pod.metadata.creation_timestamp.as_ref();
            (created.map(|time| time.0), pod.metadata.name.clone())
        });
        Ok(pods)
    }
}
