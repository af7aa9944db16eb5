//! Tasks: Jobs, run when what they do has changed since their last success, which the cluster itself records.

use std::any::Any;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tbuild_config::JsonMap;
use tbuild_exec::Stream;
use tbuild_graph::KeyManifest;
use tbuild_kube::{JobOutcome, LogLine, Task as Job};
use tbuild_realise::{Context, Effect, Op, OpError, Output, Prepared};

use crate::deploy::{Desired, kube_failure, label};
use crate::value::PushValue;
use crate::world::unless_cancelled;
use crate::{Built, ReleaseValue, TreeValue};

/// A task. Its inputs: chart, helm, the images' pushes, then its declared inputs.
pub(crate) struct Task {
    pub desired: Desired,
    pub name: String,
    pub template: String,
    /// The names of its declared inputs.
    pub inputs: Vec<String>,
    pub timeout: Duration,
    /// It runs each time it is wanted.
    pub asked: bool,
    /// It runs this time, whether it has succeeded or not.
    pub again: bool,
    /// What the command line told it.
    pub parameters: JsonMap,
    /// Tasks that have to run again once this one has succeeded.
    pub undoes: Vec<String>,
}

/// What a run needs of the preparation: the Job, and the key that its success is recorded under.
struct Planned {
    job: Value,
    key: String,
}

/// What the chart is told as the key: the Job is named by the cluster's side.
const PLACEHOLDER: &str = "0";

impl Task {
    /// The Job's document with what the command line said.
    async fn document(&self, inputs: &[Output], parameters: &JsonMap) -> Result<Value, OpError> {
        let (chart, helm, mut values) = self.desired.resolve(inputs)?;
        values["task"] = json!(self.name);
        values["taskKey"] = json!(PLACEHOLDER);
        if !parameters.is_empty() {
            values["parameters"] = json!(parameters);
        }
        let documents = self
            .desired
            .render(&chart, &helm, &values, Some(&self.template))
            .await?;
        let [job] = documents.as_slice() else {
            let message = format!(
                "{} renders to {} documents: a task is one Job",
                self.template,
                documents.len()
            );
            return Err(OpError::usage(message));
        };
        Ok(job.clone())
    }

    /// The Job's document, and the key of what it does. A task that runs when that has changed is keyed by what it
    /// does when nobody says anything: what was said once does not make it run once more without.
    async fn job(&self, inputs: &[Output]) -> Result<(Value, KeyManifest), OpError> {
        let job = self.document(inputs, &self.parameters).await?;
        let keyed = if self.asked || self.parameters.is_empty() {
            job.clone()
        } else {
            self.document(inputs, &JsonMap::new()).await?
        };
        let mut manifest = KeyManifest::new("task/1")
            .text("task", &self.name)
            .text("namespace", &self.desired.namespace)
            .text("Job", keyed);
        for (name, output) in self
            .inputs
            .iter()
            .zip(&inputs[2 + self.desired.images.len()..])
        {
            manifest = match (
                output.get::<TreeValue>(),
                Built::of(output),
                output.get::<PushValue>(),
            ) {
                (Some(tree), ..) => manifest.files(format!("input {name}"), tree.digest),
                (_, Some(Built::Image(image)), _) => {
                    manifest.text(format!("input {name}"), image.id)
                }
                (_, Some(built), _) => {
                    let ids = built.images().into_iter().map(|image| image.id);
                    manifest.list(format!("input {name}"), ids)
                }
                (.., Some(push)) => manifest.text(format!("input {name}"), push.manifest),
                _ => manifest,
            };
        }
        Ok((job, manifest))
    }
}

#[async_trait]
impl Op for Task {
    fn title(&self) -> String {
        format!("run Job {}", self.name)
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let (job, manifest) = self.job(inputs).await?;
        let key = label(&manifest.key());
        let cluster = self.desired.world.cluster().await?;
        let last = cluster
            .last_task_key(&self.desired.namespace, &self.name)
            .await
            .map_err(|error| kube_failure(&error))?;
        let asked = self.asked || self.again;
        let reason = match &last {
            _ if asked => "it was asked for".to_owned(),
            None => "it has never succeeded here".to_owned(),
            Some(_) => "what it does has changed since its last success".to_owned(),
        };
        let satisfied = (!asked && last.as_ref() == Some(&key))
            .then(|| Output::new(ReleaseValue { key: key.clone() }));
        Ok(Prepared::Effect(Effect {
            manifest,
            satisfied,
            reason,
            state: Box::new(Planned { job, key }),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<Value, OpError> {
        let Planned { job, key } = *state.downcast().map_err(|_| OpError::Internal {
            message: "a task's state is another's".to_owned(),
        })?;
        let cluster = self.desired.world.cluster().await?;
        let namespace = &self.desired.namespace;
        let fail = |error: tbuild_kube::KubeError| kube_failure(&error);
        cluster.ensure_namespace(namespace).await.map_err(fail)?;
        let job = Job {
            namespace: namespace.clone(),
            name: self.name.clone(),
            key: key.clone(),
            manifest: job,
        };
        let started = cluster.apply_job(&job).await.map_err(fail)?;
        if started.adopted {
            cx.notice("its Job was running already: waiting for that");
        }
        let on_log =
            |line: LogLine| cx.output(Stream::Stdout, format!("{}\n", line.text).as_bytes());
        let wait = cluster.wait_job(namespace, &started.name, self.timeout, on_log);
        // If that is cancelled, the Job goes on in the cluster; the next run adopts it.
        let outcome = unless_cancelled(cx, Box::pin(wait)).await?.map_err(fail)?;
        match outcome {
            JobOutcome::Succeeded => {
                cluster
                    .prune_jobs(namespace, &self.name, &started.name)
                    .await
                    .map_err(fail)?;
                for task in &self.undoes {
                    cluster
                        .prune_jobs(namespace, task, "")
                        .await
                        .map_err(fail)?;
                    cx.notice(format!("task {task} has to run again"));
                }
                Ok(json!(key))
            }
            JobOutcome::Failed(failure) => Err(OpError::failed_text(format!(
                "task {} failed: {failure}",
                self.name
            ))),
        }
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &Value,
    ) -> Result<Option<Output>, OpError> {
        Ok(result.as_str().map(|key| {
            Output::new(ReleaseValue {
                key: key.to_owned(),
            })
        }))
    }
}
