//! Tasks: Jobs that are run when the key of what they are to do differs from that of their last success, which
//! the cluster itself remembers, in the annotations of the Job that succeeded.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};

use crate::job::end;
use crate::{Cluster, KubeError};

/// The annotation that holds the key.
pub(crate) const KEY: &str = "tbuild-key";
/// The annotation of a Job whose pod was seen to succeed.
pub(crate) const SUCCEEDED: &str = "tbuild-succeeded";
/// The label that holds the task's name.
pub(crate) const TASK: &str = "tbuild-task";

/// How much of a key makes a Job's name differ from that of the task's other Jobs.
const KEY_IN_NAME: usize = 10;
/// The longest name of a Job whose pods can carry it as a label.
const NAME: usize = 63;
/// How long a deleted Job may take to go.
const GONE: Duration = Duration::from_mins(1);

/// A task to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Where.
    pub namespace: String,
    /// The task's name; a label's value.
    pub name: String,
    /// The key of what it is to do.
    pub key: String,
    /// A `batch/v1` Job. Its name is made that of this key's Job.
    pub manifest: Value,
}

/// A task's Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskJob {
    /// Its name, to wait for.
    pub name: String,
    /// It was running already: whoever started it is gone.
    pub adopted: bool,
}

impl Task {
    /// The Job as it is sent: named after the key, labelled, and kept after its end as the record of it.
    fn job(&self) -> Result<(String, DynamicObject), KubeError> {
        let wrong = |what: &str| KubeError::Manifest(format!("task {}: {what}", self.name));
        let mut job = self.manifest.clone();
        if job["kind"] != "Job" || job["apiVersion"] != "batch/v1" {
            return Err(wrong("kind and apiVersion are not those of batch/v1 Job"));
        }
        let base = job["metadata"]["name"].as_str().unwrap_or(&self.name);
        let end: String = self.key.chars().take(KEY_IN_NAME).collect();
        let room = NAME.saturating_sub(end.len() + 1);
        let base: String = base.chars().take(room).collect();
        let name = format!("{}-{end}", base.trim_end_matches(['-', '.']));
        let spec = job["spec"]
            .as_object_mut()
            .ok_or_else(|| wrong("it has no spec"))?;
        spec.remove("ttlSecondsAfterFinished");
        if !spec.get("template").is_some_and(Value::is_object) {
            return Err(wrong("it has no pod template"));
        }
        merge(&mut job, "/spec/template/metadata/labels", TASK, &self.name);
        merge(&mut job, "/metadata/labels", TASK, &self.name);
        merge(&mut job, "/metadata/annotations", KEY, &self.key);
        job["metadata"]["name"] = json!(name);
        job["metadata"]["namespace"] = json!(self.namespace);
        let job = serde_json::from_value(job).map_err(|error| wrong(&error.to_string()))?;
        Ok((name, job))
    }
}

/// Sets a member of the map at `path`, made where missing.
fn merge(value: &mut Value, path: &str, name: &str, text: &str) {
    let mut at = value;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !at[part].is_object() {
            at[part] = json!({});
        }
        at = &mut at[part];
    }
    at[name] = json!(text);
}

impl Cluster {
    /// Starts a task's Job, or adopts the one of the same key that runs. One of that key that is over is made
    /// anew: whether it has to run is decided before, by [`Cluster::last_task_key`].
    pub async fn apply_job(&self, task: &Task) -> Result<TaskJob, KubeError> {
        let (name, job) = task.job()?;
        let typed = self.namespaced::<Job>(&task.namespace);
        let subject = format!("Job {}/{name}", task.namespace);
        let old = self
            .ask(&format!("find {subject}"), typed.get_opt(&name))
            .await?;
        match old {
            Some(job) if end(&job).is_none() && job.metadata.deletion_timestamp.is_none() => {
                return Ok(TaskJob {
                    name,
                    adopted: true,
                });
            }
            Some(_) => self.delete_job(&task.namespace, &name, true).await?,
            None => {}
        }
        // Not as the typed object, which would lose members that it does not know.
        let resource = ApiResource::erase::<Job>(&());
        let jobs: Api<DynamicObject> =
            Api::namespaced_with(typed.into_client(), &task.namespace, &resource);
        let parameters = PostParams::default();
        self.ask(&format!("make {subject}"), jobs.create(&parameters, &job))
            .await?;
        Ok(TaskJob {
            name,
            adopted: false,
        })
    }

    /// The key of a task's last success; none when it never succeeded here.
    pub async fn last_task_key(
        &self,
        namespace: &str,
        task: &str,
    ) -> Result<Option<String>, KubeError> {
        let jobs = self.jobs(namespace, &format!("{TASK}={task}")).await?;
        let completed = jobs.into_iter().filter(|job| job.state == "Complete");
        let last = completed.max_by_key(|job| (job.created, job.completed));
        Ok(last.and_then(|job| job.key))
    }

    /// Deletes the Jobs of a task that are over, but for `keep`; how many.
    pub async fn prune_jobs(
        &self,
        namespace: &str,
        task: &str,
        keep: &str,
    ) -> Result<usize, KubeError> {
        let jobs = self.jobs(namespace, &format!("{TASK}={task}")).await?;
        let old = |job: &&crate::JobView| job.state != "Running" && job.name != keep;
        let mut count = 0;
        for job in jobs.iter().filter(old) {
            self.delete_job(namespace, &job.name, false).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn delete_job(&self, namespace: &str, name: &str, wait: bool) -> Result<(), KubeError> {
        let jobs = self.namespaced::<Job>(namespace);
        let action = format!("delete Job {namespace}/{name}");
        let parameters = DeleteParams::background();
        match self.ask(&action, jobs.delete(name, &parameters)).await {
            Err(KubeError::Refused { code: 404, .. }) => return Ok(()),
            deleted => deleted?,
        };
        if wait {
            self.await_gone(namespace, name).await?;
        }
        Ok(())
    }

    async fn await_gone(&self, namespace: &str, name: &str) -> Result<(), KubeError> {
        let jobs = self.namespaced::<Job>(namespace);
        let action = format!("delete Job {namespace}/{name}");
        let of_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let began = Instant::now();
        loop {
            let left = self.ask(&action, jobs.list_metadata(&of_name)).await?;
            if left.items.is_empty() {
                return Ok(());
            }
            if began.elapsed() > GONE {
                return Err(KubeError::Slow {
                    url: self.url().to_owned(),
                    action,
                    after: GONE,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(manifest: Value) -> Task {
        Task {
            namespace: "tator".to_owned(),
            name: "migrate".to_owned(),
            key: "0123456789abcdef".repeat(4),
            manifest,
        }
    }

    #[test]
    fn a_job_is_named_after_its_key_and_kept_as_the_record() {
        let manifest = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "tator-migrate"},
            "spec": {
                "ttlSecondsAfterFinished": 5, "unheardOf": true,
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {}},
            },
        });
        let (name, job) = task(manifest).job().unwrap();
        assert_eq!(name, "tator-migrate-0123456789");
        assert_eq!(job.metadata.annotations.unwrap()[KEY].len(), 64);
        assert_eq!(job.metadata.labels.unwrap()[TASK], "migrate");
        let labels = &job.data["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels, &json!({"a": "b", TASK: "migrate"}));
        assert_eq!(job.data["spec"]["ttlSecondsAfterFinished"], Value::Null);
        assert_eq!(job.data["spec"]["unheardOf"], true);
    }

    #[test]
    fn a_long_name_is_cut_before_the_key() {
        let manifest = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": format!("{}-{}", "x".repeat(51), "y".repeat(20))},
            "spec": {"template": {}},
        });
        let (name, _) = task(manifest).job().unwrap();
        assert_eq!(name, format!("{}-0123456789", "x".repeat(51)));
    }

    #[test]
    fn what_is_no_job_is_refused() {
        for manifest in [
            json!(null),
            json!({"apiVersion": "v1", "kind": "Pod"}),
            json!({"apiVersion": "batch/v1", "kind": "Job"}),
            json!({"apiVersion": "batch/v1", "kind": "Job", "spec": {}}),
        ] {
            assert!(task(manifest).job().is_err());
        }
    }
}
