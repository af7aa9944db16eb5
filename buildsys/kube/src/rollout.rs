//! Progress of a release's workloads while helm works.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::Stream;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::ListParams;

use crate::pod::is_ready;
use crate::trouble::trouble;
use crate::{Cluster, Failure, KubeError};

/// helm puts this label and annotation on whatever it installs.
const MANAGED_BY_HELM: &str = "app.kubernetes.io/managed-by=Helm";
const RELEASE: &str = "meta.helm.sh/release-name";

/// How long the API server may be away while a rollout is watched.
const ABSENCE: Duration = Duration::from_mins(1);

/// What kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
}

impl std::fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// How far a workload is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WorkloadProgress {
    /// What kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Pods of its newest template that are ready.
    pub ready: i32,
    /// Pods that it is to have.
    pub desired: i32,
    /// All its pods are of its newest template and ready.
    pub done: bool,
}

/// How far a release is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rollout {
    /// Its workloads, by kind and name.
    pub workloads: Vec<WorkloadProgress>,
    /// The first pod that fails, of those that the rollout started.
    pub failing: Option<Failure>,
    /// The failure has lasted so long that it is not expected to pass.
    pub for_good: bool,
}

impl Rollout {
    /// All workloads are done.
    pub fn done(&self) -> bool {
        self.workloads.iter().all(|workload| workload.done)
    }
}

/// A workload and how to tell pods of its newest template from its others.
struct Workload {
    progress: WorkloadProgress,
    selector: BTreeMap<String, String>,
    /// Label and its value that only pods of the newest template have; none while its controller has not seen
    /// that template.
    newest: Option<(&'static str, String)>,
}

impl Workload {
    fn selects(&self, pod: &Pod) -> bool {
        let labels = pod.metadata.labels.as_ref();
        let has = |name: &str, value: &String| {
            labels.is_some_and(|labels| labels.get(name) == Some(value))
        };
        !self.selector.is_empty() && self.selector.iter().all(|(name, value)| has(name, value))
    }

    fn is_newest(&self, pod: &Pod) -> bool {
        let labels = pod.metadata.labels.as_ref();
        self.newest.as_ref().is_some_and(|(name, value)| {
            labels.is_some_and(|labels| labels.get(*name) == Some(value))
        })
    }
}

impl Cluster {
    /// How far the workloads of a release are: an item now, and one for each change, `interval` apart at least.
    /// Ends never by itself, and with an error when the cluster cannot be asked for a minute. Pods that failed
    /// before the first look are not this rollout's; a failing pod of it is told with its events and log once
    /// found, and [`Rollout::for_good`] when waiting longer helps no more.
    pub fn watch_rollout(
        &self,
        namespace: &str,
        release: &str,
        interval: Duration,
    ) -> impl Stream<Item = Result<Rollout, KubeError>> + Send + use<> {
        let watch = Watch {
            cluster: self.clone(),
            namespace: namespace.to_owned(),
            release: release.to_owned(),
            interval,
            last: None,
            answered: Instant::now(),
            failed_before: None,
            since: HashMap::new(),
            told: None,
            over: false,
        };
        futures::stream::unfold(watch, Watch::step)
    }

    /// How far the workloads of a release are (of every release, where none is named), now.
    pub async fn workloads(
        &self,
        namespace: &str,
        release: Option<&str>,
    ) -> Result<Vec<WorkloadProgress>, KubeError> {
        let found = self.find_workloads(namespace, release).await?;
        Ok(found
            .into_iter()
            .map(|workload| workload.progress)
            .collect())
    }

    async fn find_workloads(
        &self,
        namespace: &str,
        release: Option<&str>,
    ) -> Result<Vec<Workload>, KubeError> {
        let managed = ListParams::default().labels(MANAGED_BY_HELM);
        let everything = ListParams::default();
        let action = format!("list workloads in {namespace}");
        let of_release = |metadata: &ObjectMeta| {
            let annotations = metadata.annotations.as_ref();
            let owner = annotations.and_then(|map| map.get(RELEASE));
            release.is_none_or(|release| owner.is_some_and(|owner| owner == release))
        };
        let deployments = self.namespaced::<Deployment>(namespace);
        let stateful_sets = self.namespaced::<StatefulSet>(namespace);
        let daemon_sets = self.namespaced::<DaemonSet>(namespace);
        let replica_sets = self.namespaced::<ReplicaSet>(namespace);
        let (deployments, stateful_sets, daemon_sets, replica_sets) = tokio::try_join!(
            self.ask(&action, deployments.list(&managed)),
            self.ask(&action, stateful_sets.list(&managed)),
            self.ask(&action, daemon_sets.list(&managed)),
            self.ask(&action, replica_sets.list_metadata(&everything)),
        )?;
        let replica_sets: Vec<_> = replica_sets.items.into_iter().map(|r| r.metadata).collect();
        let mut found: Vec<Workload> = Vec::new();
        for one in deployments.items.iter().filter(|d| of_release(&d.metadata)) {
            found.push(deployment(one, &replica_sets));
        }
        for one in stateful_sets
            .items
            .iter()
            .filter(|s| of_release(&s.metadata))
        {
            found.push(stateful_set(one));
        }
        for one in daemon_sets.items.iter().filter(|d| of_release(&d.metadata)) {
            found.push(daemon_set(one));
        }
        found.sort_by(|a, b| {
            let key = |w: &Workload| (w.progress.kind, w.progress.name.clone());
            key(a).cmp(&key(b))
        });
        Ok(found)
    }
}

fn labels(selector: Option<&LabelSelector>) -> BTreeMap<String, String> {
    selector
        .and_then(|selector| selector.match_labels.clone())
        .unwrap_or_default()
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn deployment(deployment: &Deployment, replica_sets: &[ObjectMeta]) -> Workload {
    const REVISION: &str = "deployment.kubernetes.io/revision";
    let status = deployment.status.clone().unwrap_or_default();
    let spec = deployment.spec.as_ref();
    let desired = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let seen = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0);
    let revision = |metadata: &ObjectMeta| metadata.annotations.as_ref()?.get(REVISION).cloned();
    let current = revision(&deployment.metadata);
    let hash = replica_sets
        .iter()
        .filter(|set| {
            set.owner_references
                .iter()
                .flatten()
                .any(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref())
        })
        .find(|set| current.is_some() && revision(set) == current)
        .and_then(|set| set.labels.as_ref()?.get("pod-template-hash").cloned());
    // Kubernetes counts ready pods of all templates: while old ones go, no more than the new ones are new.
    let old = status.replicas.unwrap_or(0) - updated;
    let available = status.available_replicas.unwrap_or(0);
    Workload {
        progress: WorkloadProgress {
            kind: WorkloadKind::Deployment,
            name: name(&deployment.metadata),
            ready: if seen {
                status.ready_replicas.unwrap_or(0).min(updated)
            } else {
                0
            },
            desired,
            done: seen && updated >= desired && old <= 0 && available >= desired,
        },
        selector: labels(spec.map(|spec| &spec.selector)),
        newest: hash
            .filter(|_| seen)
            .map(|hash| ("pod-template-hash", hash)),
    }
}

fn stateful_set(set: &StatefulSet) -> Workload {
    let status = set.status.clone().unwrap_or_default();
    let spec = set.spec.as_ref();
    let desired = spec.and_then(|spec| spec.replicas).unwrap_or(1);
    let seen = status.observed_generation >= set.metadata.generation;
    let ready = status.ready_replicas.unwrap_or(0);
    let same = status.current_revision == status.update_revision;
    let updated = if same {
        status.replicas
    } else {
        status.updated_replicas.unwrap_or(0)
    };
    Workload {
        progress: WorkloadProgress {
            kind: WorkloadKind::StatefulSet,
            name: name(&set.metadata),
            ready: if seen { ready.min(updated) } else { 0 },
            desired,
            done: seen && updated >= desired && ready >= desired,
        },
        selector: labels(spec.map(|spec| &spec.selector)),
        newest: status
            .update_revision
            .filter(|_| seen)
            .map(|revision| ("controller-revision-hash", revision)),
    }
}

fn daemon_set(set: &DaemonSet) -> Workload {
    let status = set.status.clone().unwrap_or_default();
    let seen = status.observed_generation >= set.metadata.generation;
    let desired = status.desired_number_scheduled;
    let updated = status.updated_number_scheduled.unwrap_or(0);
    let generation = set.metadata.generation.unwrap_or(0).to_string();
    Workload {
        progress: WorkloadProgress {
            kind: WorkloadKind::DaemonSet,
            name: name(&set.metadata),
            ready: if seen {
                status.number_ready.min(updated)
            } else {
                0
            },
            desired,
            done: seen && updated >= desired && status.number_ready >= desired,
        },
        selector: labels(set.spec.as_ref().map(|spec| &spec.selector)),
        newest: seen.then_some(("pod-template-generation", generation)),
    }
}

struct Watch {
    cluster: Cluster,
    namespace: String,
    release: String,
    interval: Duration,
    last: Option<Rollout>,
    answered: Instant,
    /// UIDs of pods that failed at the first look.
    failed_before: Option<HashSet<String>>,
    /// Since when each pod, by UID, fails.
    since: HashMap<String, Instant>,
    /// The failure told last, and the pod and word that it was for.
    told: Option<((String, String), Failure)>,
    over: bool,
}

impl Watch {
    async fn step(mut self) -> Option<(Result<Rollout, KubeError>, Self)> {
        if self.over {
            return None;
        }
        loop {
            if self.last.is_some() {
                tokio::time::sleep(self.interval).await;
            }
            match self.look().await {
                Ok(rollout) if self.last.as_ref() == Some(&rollout) => {
                    self.answered = Instant::now();
                }
                Ok(rollout) => {
                    self.answered = Instant::now();
                    self.last = Some(rollout.clone());
                    return Some((Ok(rollout), self));
                }
                Err(error) if error.is_unreachable() && self.answered.elapsed() < ABSENCE => {
                    tokio::time::sleep(self.interval).await;
                }
                Err(error) => {
                    self.over = true;
                    return Some((Err(error), self));
                }
            }
        }
    }

    async fn look(&mut self) -> Result<Rollout, KubeError> {
        let (workloads, pods) = tokio::try_join!(
            self.cluster
                .find_workloads(&self.namespace, Some(&self.release)),
            self.cluster.raw_pods(&self.namespace, ""),
        )?;
        let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
        let own: Vec<&Pod> = pods
            .iter()
            .filter(|pod| workloads.iter().any(|workload| workload.selects(pod)))
            .collect();
        let failing = |pod: &&&Pod| !is_ready(pod) && trouble(pod).is_some();
        let before = self
            .failed_before
            .get_or_insert_with(|| own.iter().filter(failing).map(|pod| uid(pod)).collect());
        let now: Vec<&Pod> = own
            .iter()
            .filter(failing)
            .filter(|pod| !before.contains(&uid(pod)))
            .filter(|pod| workloads.iter().any(|w| w.selects(pod) && w.is_newest(pod)))
            .copied()
            .collect();
        let uids: HashSet<_> = now.iter().map(|pod| uid(pod)).collect();
        self.since.retain(|uid, _| uids.contains(uid));
        for uid in uids {
            self.since.entry(uid).or_insert_with(Instant::now);
        }
        let lasting = |pod: &&&Pod| {
            let since = self.since.get(&uid(pod));
            let patience = trouble(pod).and_then(|trouble| trouble.patience);
            matches!((since, patience), (Some(since), Some(patience)) if since.elapsed() >= patience)
        };
        let for_good = now.iter().find(lasting).copied();
        let failing = match for_good.or_else(|| now.first().copied()) {
            Some(pod) => Some(self.tell(pod, for_good.is_some()).await),
            None => None,
        };
        Ok(Rollout {
            for_good: for_good.is_some(),
            failing,
            workloads: workloads.into_iter().map(|w| w.progress).collect(),
        })
    }

    /// The failure of a pod, asked for once for each pod and word, and again when it is for good: its log may
    /// say more by then.
    async fn tell(&mut self, pod: &Pod, for_good: bool) -> Failure {
        let word = trouble(pod)
            .map(|trouble| trouble.reason)
            .unwrap_or_default();
        let about = (name(&pod.metadata), format!("{word} {for_good}"));
        if let Some((told, failure)) = &self.told
            && *told == about
        {
            return failure.clone();
        }
        let mut failure = self.cluster.failure(&self.namespace, pod, &word).await;
        // While the container starts anew, its log is empty for a moment; what was read before is still true.
        if let Some(((told, _), before)) = &self.told
            && failure.last_log_lines.is_empty()
            && (told, &before.container) == (&about.0, &failure.container)
        {
            failure.last_log_lines.clone_from(&before.last_log_lines);
        }
        self.told = Some((about, failure.clone()));
        failure
    }
}
