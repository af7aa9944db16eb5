//! Jobs: listed, and waited for with their logs streamed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use crate::follow::Followers;
use crate::task::{KEY, SUCCEEDED, TASK};
use crate::trouble::trouble;
use crate::{Cluster, Failure, KubeError, LogLine};

/// How often the Job is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long the API server may be away meanwhile.
const ABSENCE: Duration = Duration::from_mins(1);

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// It completed.
    Succeeded,
    /// It failed, cannot start, or passed the deadline.
    Failed(Failure),
}

/// A Job as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct JobView {
    /// Its name.
    pub name: String,
    /// The task that it runs, if it is one of tbuild's.
    pub task: Option<String>,
    /// The key of what it was run for.
    pub key: Option<String>,
    /// `Complete`, `Failed` or `Running`.
    pub state: String,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// When it completed, in seconds since 1970.
    pub completed: Option<i64>,
}

impl JobView {
    pub(crate) fn of(job: &Job) -> Self {
        let metadata = &job.metadata;
        let of = |map: &Option<std::collections::BTreeMap<String, String>>, name: &str| {
            map.as_ref().and_then(|map| map.get(name).cloned())
        };
        let completed = job.status.as_ref().and_then(|s| s.completion_time.as_ref());
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            task: of(&metadata.labels, TASK),
            key: of(&metadata.annotations, KEY),
            state: end(job).map_or("Running", |end| end.state).to_owned(),
            created: metadata
                .creation_timestamp
                .as_ref()
                .map(|t| t.0.as_second()),
            completed: completed.map(|time| time.0.as_second()),
        }
    }
}

/// How a Job that is over ended.
pub(crate) struct End {
    pub(crate) state: &'static str,
    pub(crate) message: String,
}

/// None while it runs.
pub(crate) fn end(job: &Job) -> Option<End> {
    let annotations = job.metadata.annotations.as_ref();
    if annotations.is_some_and(|annotations| annotations.contains_key(SUCCEEDED)) {
        return Some(End {
            state: "Complete",
            message: String::new(),
        });
    }
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find_map(|condition| {
        let state = match condition.type_.as_str() {
            "Complete" => "Complete",
            "Failed" => "Failed",
            _ => return None,
        };
        let reason = condition.reason.as_deref().unwrap_or_default();
        let message = condition.message.as_deref().unwrap_or_default();
        (condition.status == "True").then(|| End {
            state,
            message: format!("{reason}: {message}"),
        })
    })
}

impl Cluster {
    /// The Jobs that `selector` selects (all when it is empty), oldest first.
    pub async fn jobs(&self, namespace: &str, selector: &str) -> Result<Vec<JobView>, KubeError> {
        let selected = ListParams::default().labels(selector);
        let action = format!("list Jobs {selector} in {namespace}");
        let jobs = self.namespaced::<Job>(namespace);
        let list = self.ask(&action, jobs.list(&selected)).await?;
        let mut views: Vec<_> = list.items.iter().map(JobView::of).collect();
        views.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(views)
    }

    /// Waits for the end of a Job and hands every line that its containers write, from their first, to
    /// `on_log`, in the order of each container. A pod that cannot start, and a Job that is not over after
    /// `deadline`, have failed; the Job is left as it is.
    pub async fn wait_job(
        &self,
        namespace: &str,
        name: &str,
        deadline: Duration,
        mut on_log: impl FnMut(LogLine),
    ) -> Result<JobOutcome, KubeError> {
        let mut waiting = Waiting {
            cluster: self,
            namespace,
            name,
            began: Instant::now(),
            deadline,
            answered: Instant::now(),
            troubled: HashMap::new(),
        };
        let mut followers = Followers::new(self, namespace);
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                line = followers.next() => on_log(line),
                _ = look.tick() => if let Some(outcome) = waiting.look(&mut followers).await? {
                    followers.drain(&mut on_log).await;
                    return Ok(outcome);
                },
            }
        }
    }
}

struct Waiting<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    name: &'a str,
    began: Instant,
    deadline: Duration,
    /// When the API server answered last.
    answered: Instant,
    /// Since when each pod, by UID, is in trouble.
    troubled: HashMap<String, Instant>,
}

impl Waiting<'_> {
    async fn look(&mut self, followers: &mut Followers) -> Result<Option<JobOutcome>, KubeError> {
        let (job, pods) = match self.ask().await {
            Err(error) if error.is_unreachable() && self.answered.elapsed() < ABSENCE => {
                return Ok(None);
            }
            answer => answer?,
        };
        self.answered = Instant::now();
        followers.update(&pods, None, None);
        let failed = match end(&job) {
            Some(end) if end.state == "Complete" => return Ok(Some(JobOutcome::Succeeded)),
            Some(end) => Some((worst(&pods), end.message)),
            // The Job's own status follows a second or two later.
            None if has_succeeded(&job, &pods) => {
                self.note_success().await?;
                return Ok(Some(JobOutcome::Succeeded));
            }
            None => self
                .cannot_start(&pods)
                .map(|pod| (Some(pod), String::new())),
        };
        let late = || {
            let message = format!("not finished after {} s", self.deadline.as_secs());
            (self.began.elapsed() > self.deadline).then(|| (worst(&pods), message))
        };
        let Some((pod, reason)) = failed.or_else(late) else {
            return Ok(None);
        };
        let failure = match pod {
            Some(pod) => self.cluster.failure(self.namespace, pod, &reason).await,
            None => self.without_pod(&job, reason).await,
        };
        Ok(Some(JobOutcome::Failed(failure)))
    }

    async fn ask(&self) -> Result<(Job, Vec<Pod>), KubeError> {
        let jobs = self.cluster.namespaced::<Job>(self.namespace);
        let action = format!("find Job {}/{}", self.namespace, self.name);
        let job = self.cluster.ask(&action, jobs.get_opt(self.name)).await?;
        let job = job.ok_or_else(|| KubeError::Missing {
            what: format!("Job {}/{}", self.namespace, self.name),
        })?;
        // Not by name: pods of a Job of that name that was just deleted may be there still.
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let selector = format!("batch.kubernetes.io/controller-uid={uid}");
        let pods = self.cluster.raw_pods(self.namespace, &selector).await?;
        Ok((job, pods))
    }

    /// Writes down that the Job did its work, so that a run before its status says so takes it as done.
    async fn note_success(&self) -> Result<(), KubeError> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {SUCCEEDED: "true"}}}));
        let jobs = self.cluster.namespaced::<Job>(self.namespace);
        let action = format!("annotate Job {}/{}", self.namespace, self.name);
        let parameters = PatchParams::default();
        let patched = jobs.patch_metadata(self.name, &parameters, &patch);
        self.cluster.ask(&action, patched).await.map(drop)
    }

    /// A pod that has been unable to start for longer than its trouble may last. One that started and ended
    /// badly is the Job's to try again.
    fn cannot_start<'a>(&mut self, pods: &'a [Pod]) -> Option<&'a Pod> {
        for pod in pods {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let passing = ["CrashLoopBackOff", "Error", "OOMKilled", "Failed"];
            let lasting = trouble(pod)
                .filter(|trouble| !passing.contains(&trouble.reason.as_str()))
                .and_then(|trouble| trouble.patience);
            match lasting {
                None => {
                    self.troubled.remove(&uid);
                }
                Some(patience) => {
                    let since = *self.troubled.entry(uid).or_insert_with(Instant::now);
                    if since.elapsed() >= patience {
                        return Some(pod);
                    }
                }
            }
        }
        None
    }

    async fn without_pod(&self, job: &Job, reason: String) -> Failure {
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let events = self.cluster.events_of(self.namespace, &uid).await;
        Failure {
            pod: format!("Job {}", self.name),
            container: None,
            reason,
            events: events.unwrap_or_default(),
            last_log_lines: Vec::new(),
        }
    }
}

/// Whether a Job of one pod has had that pod succeed: it completes then, whatever else happens.
fn has_succeeded(job: &Job, pods: &[Pod]) -> bool {
    let spec = job.spec.as_ref();
    let one = spec.is_some_and(|spec| {
        spec.completions.unwrap_or(1) == 1 && spec.parallelism.unwrap_or(1) == 1
    });
    let done = |pod: &Pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase == Some("Succeeded")
    };
    one && pods.iter().any(done)
}

/// The newest pod in trouble, else the newest.
fn worst(pods: &[Pod]) -> Option<&Pod> {
    let troubled = pods.iter().rev().find(|pod| trouble(pod).is_some());
    troubled.or_else(|| pods.last())
}
