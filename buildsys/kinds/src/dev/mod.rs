//! Files put into pods that run: `[component.X.dev.NAME]`.

mod agent;
mod pods;
mod there;
mod wanted;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tbuild_exec::Stream;
use tbuild_graph::KeyManifest;
use tbuild_realise::{Context, Effect, Op, OpError, Output, Prepared};
use tokio::task::JoinHandle;

pub use self::pods::DevPods;

pub(crate) use self::agent::Job;
pub(crate) use self::pods::Target;

use self::agent::Agent;
use self::there::{Todo, files};
use self::wanted::Wanted;
use crate::deploy::kube_failure;
use crate::world::{blocking, unless_cancelled};
use crate::{Built, TreeValue, World};

/// What was done to one pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevPushed {
    /// Which.
    pub pod: String,
    /// The name of the push.
    pub name: String,
    /// Files written.
    pub files: usize,
    /// Bytes sent.
    pub bytes: usize,
    /// Files removed.
    pub removed: usize,
    /// Whether the reload has run.
    pub reloaded: bool,
    /// How long it took, in milliseconds.
    pub milliseconds: u128,
}

impl DevPushed {
    /// Whether all was as it is to be.
    pub fn is_nothing(&self) -> bool {
        self.files == 0 && self.removed == 0 && !self.reloaded
    }
}

impl std::fmt::Display for DevPushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pod, name, .. } = self;
        if self.is_nothing() {
            return write!(f, "{pod}: {name}: nothing has changed");
        }
        let written = files(self.files);
        write!(f, "{pod}: {name}: {written} written ({} bytes)", self.bytes)?;
        if self.removed > 0 {
            write!(f, ", {} removed", self.removed)?;
        }
        if self.reloaded {
            f.write_str(", reloaded")?;
        }
        write!(f, " in {} ms", self.milliseconds)
    }
}

/// A push. Its input: what the files are of.
pub(crate) struct DevPush {
    world: Arc<World>,
    pods: Arc<DevPods>,
    parts: Parts,
    /// The agents, asked while the input is made.
    asked: Mutex<Option<Asked>>,
}

/// What a push is.
pub(crate) struct Parts {
    pub target: Target,
    pub job: Job,
    /// What is of the input, and where it goes.
    pub paths: Vec<(String, String)>,
    /// What the input is to the user.
    pub what: String,
    /// Whether it is a folder where files are edited.
    pub edited: bool,
    /// Tasks that have to run again.
    pub undoes: Vec<String>,
}

/// Agents that are being started.
type Asked = JoinHandle<Result<Vec<Agent>, OpError>>;

impl DevPush {
    /// Starts the agents, so that they are there when the input is.
    pub(crate) fn new(world: &Arc<World>, pods: &Arc<DevPods>, parts: Parts) -> Self {
        let asked = tokio::spawn(pods::agents(
            Arc::clone(world),
            Arc::clone(pods),
            parts.target.clone(),
            parts.job.clone(),
        ));
        Self {
            world: Arc::clone(world),
            pods: Arc::clone(pods),
            parts,
            asked: Mutex::new(Some(asked)),
        }
    }
}

/// What a run needs of the preparation.
struct Planned {
    wanted: Arc<Wanted>,
    agents: Vec<(Agent, Todo)>,
}

#[async_trait]
impl Op for DevPush {
    fn title(&self) -> String {
        format!(
            "put {} into {}",
            self.parts.what, self.parts.target.component
        )
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let input = inputs.first().cloned().ok_or_else(|| OpError::Internal {
            message: format!("{} is not known", self.parts.what),
        })?;
        let mut manifest = KeyManifest::new("dev-push/1")
            .text("component", &self.parts.target.component)
            .text("push", &self.parts.target.name);
        if let Some(tree) = input.get::<TreeValue>() {
            manifest = manifest.files("files", tree.digest);
        } else if let Some(built) = Built::of(&input) {
            let ids = built.images().into_iter().map(|image| image.id);
            manifest = manifest.list("image", ids);
        }
        let (world, paths) = (Arc::clone(&self.world), self.parts.paths.clone());
        let (what, edited) = (self.parts.what.clone(), self.parts.edited);
        let wanted = blocking(move || wanted::of(&world, &input, &paths, (&what, edited))).await?;
        let asked = self.asked.lock().ok().and_then(|mut asked| asked.take());
        let asked = asked.ok_or_else(|| OpError::Internal {
            message: "nobody has asked the pods".to_owned(),
        })?;
        let agents = asked.await.map_err(|error| OpError::internal(&error))??;
        let mut planned = Vec::new();
        for agent in agents {
            let todo = agent.there.todo(wanted.iter());
            planned.push((agent, todo));
        }
        let reasons: Vec<String> = planned
            .iter()
            .filter(|(_, todo)| !todo.is_nothing())
            .map(|(agent, todo)| todo.reason(&agent.pod))
            .collect();
        if reasons.is_empty() {
            let mut done = Vec::new();
            for (agent, _) in planned {
                done.push(self.pushed(&agent.pod));
                self.pods.keep(&self.parts.target, agent);
            }
            for one in &done {
                self.pods.tell(one);
            }
            return Ok(Prepared::Effect(Effect {
                manifest,
                satisfied: Some(Output::new(done)),
                reason: String::new(),
                state: Box::new(()),
            }));
        }
        Ok(Prepared::Effect(Effect {
            manifest,
            satisfied: None,
            reason: reasons.join(", "),
            state: Box::new(Planned {
                wanted: Arc::new(wanted),
                agents: planned,
            }),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        _: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<serde_json::Value, OpError> {
        let Planned { wanted, agents } = *state.downcast().map_err(|_| OpError::Internal {
            message: "a push's state is another's".to_owned(),
        })?;
        let all = async || -> Result<Vec<DevPushed>, OpError> {
            if !self.parts.undoes.is_empty() {
                let cluster = self.world.cluster().await?;
                for task in &self.parts.undoes {
                    cluster
                        .prune_jobs(&self.parts.target.namespace, task, "")
                        .await
                        .map_err(|error| kube_failure(&error))?;
                }
            }
            let pods = agents
                .into_iter()
                .map(|(agent, todo)| self.put(cx, &wanted, agent, todo));
            // Each pod gets what it can, whatever becomes of the others.
            join_all(pods).await.into_iter().collect()
        };
        let done = unless_cancelled(cx, all()).await??;
        serde_json::to_value(done).map_err(|error| OpError::internal(&error))
    }

    async fn complete(
        &self,
        _: &Context,
        _: &[Output],
        result: &serde_json::Value,
    ) -> Result<Option<Output>, OpError> {
        let done: Option<Vec<DevPushed>> = serde_json::from_value(result.clone()).ok();
        Ok(done.map(Output::new))
    }
}

impl DevPush {
    fn pushed(&self, pod: &str) -> DevPushed {
        DevPushed {
            pod: pod.to_owned(),
            name: self.parts.target.name.clone(),
            files: 0,
            bytes: 0,
            removed: 0,
            reloaded: false,
            milliseconds: 0,
        }
    }

    /// Makes one pod what it is to be.
    async fn put(
        &self,
        cx: &Context,
        wanted: &Arc<Wanted>,
        mut agent: Agent,
        todo: Todo,
    ) -> Result<DevPushed, OpError> {
        let began = Instant::now();
        let mut pushed = self.pushed(&agent.pod);
        if !todo.is_nothing() {
            (pushed.files, pushed.removed) = (todo.changed.len(), todo.gone.len());
            pushed.reloaded = !self.parts.job.reload.is_empty();
            let list = agent.there.pushed_after(&todo);
            let text: String = list.iter().flat_map(|path| [path, "\n"]).collect();
            let (world, wanted) = (Arc::clone(&self.world), Arc::clone(wanted));
            let (parcel, todo) = blocking(move || {
                let parcel = wanted.pack(&world, &todo, &text)?;
                Ok((parcel, todo))
            })
            .await?;
            pushed.bytes = parcel.bytes.len();
            let pod = agent.pod.clone();
            let said = |text: &str| {
                cx.output(Stream::Stdout, format!("{pod}: {text}\n").as_bytes());
            };
            agent = agent.put(&parcel.bytes, said).await?;
            agent.there.done(&todo, parcel.sent, list);
        }
        pushed.milliseconds = began.elapsed().as_millis();
        self.pods.keep(&self.parts.target, agent);
        self.pods.tell(&pushed);
        Ok(pushed)
    }
}
