//! What is done for one node: looked up, run, recorded.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tbuild_digest::ActionKey;
use tbuild_exec::Cancel;
use tbuild_graph::{Graph, KeyManifest, NodeId};
use tbuild_store::Store;

use crate::log::{Log, remember_failure};
use crate::record::{Record, last, now, read_record, remember};
use crate::{Context, EventSink, Op, OpError, Output, Prepared, Status};

/// Why an action runs of which nothing has changed.
const LOST: &str = "nothing has changed, but its result is no longer in the store (tbuild gc)";

/// What a task reports back to the loop.
pub(crate) enum Report {
    Known {
        output: Output,
        manifest: Option<KeyManifest>,
        status: Status,
        duration: Duration,
    },
    ToRun(ToRun),
    Failed {
        error: OpError,
        duration: Duration,
        log: Vec<u8>,
    },
}

/// An action or effect that has to run.
pub(crate) struct ToRun {
    pub manifest: KeyManifest,
    /// The key to record under; none for effects, whose record is the world.
    pub key: Option<ActionKey>,
    pub force: bool,
    pub impure: Vec<String>,
    pub reason: Option<String>,
    pub state: Box<dyn Any + Send + Sync>,
}

/// What the loop and its tasks share.
pub(crate) struct Shared {
    pub graph: Arc<Graph<Box<dyn Op>>>,
    pub store: Arc<dyn Store>,
    pub events: EventSink,
    pub cancel: Cancel,
    /// What actions that have found out something are known by, by the keys that they were run by: other nodes may be
    /// the same action.
    pub settled: Mutex<HashMap<ActionKey, KeyManifest>>,
}

pub(crate) fn failed(error: OpError, duration: Duration, cx: &Context) -> Report {
    let mut log_end = Vec::new();
    if let Ok(mut log) = cx.log.lock() {
        log_end = log.tail();
        let store = cx.store.as_ref();
        // The failure itself is what the user has to hear of, not that its output could not be kept.
        let _lost = log
            .finish(store)
            .and_then(|whole| remember_failure(store, &cx.node, whole));
    }
    Report::Failed {
        error,
        duration,
        log: log_end,
    }
}

impl Shared {
    pub fn context(&self, node: NodeId) -> Context {
        Context {
            store: Arc::clone(&self.store),
            cancel: self.cancel.clone(),
            node: Arc::from(self.graph.get(node).name.as_str()),
            events: Arc::clone(&self.events),
            log: Arc::new(Mutex::new(Log::default())),
        }
    }

    pub async fn prepare(
        &self,
        node: NodeId,
        cx: &Context,
        inputs: &[Output],
        plan_only: bool,
    ) -> Result<Report, OpError> {
        let vertex = self.graph.get(node);
        let known = |output, manifest, status| Report::Known {
            output,
            manifest,
            status,
            duration: Duration::ZERO,
        };
        match vertex.payload.prepare(cx, inputs).await? {
            Prepared::Ready(output) => Ok(known(output, None, Status::Composed)),
            Prepared::Action(work) => {
                let key = work.manifest.key();
                if !work.force
                    && let Some(output) = self.recorded(node, cx, inputs, &key).await?
                {
                    if !plan_only {
                        remember(self.store.as_ref(), &vertex.name, key, None)?;
                    }
                    return Ok(known(output, Some(work.manifest), Status::Cached));
                }
                // Nobody would find out later: what it was known by before is what it will be known by again.
                let is_lost = !work.force
                    && last(self.store.as_ref(), &vertex.name)?.is_some_and(|last| last.key == key);
                Ok(Report::ToRun(ToRun {
                    manifest: work.manifest,
                    key: Some(key),
                    force: work.force,
                    impure: work.impure,
                    reason: is_lost.then(|| LOST.to_owned()),
                    state: work.state,
                }))
            }
            Prepared::Effect(effect) => match effect.satisfied {
                Some(output) => Ok(known(output, Some(effect.manifest), Status::Cached)),
                None => Ok(Report::ToRun(ToRun {
                    manifest: effect.manifest,
                    key: None,
                    force: false,
                    impure: Vec::new(),
                    reason: Some(effect.reason),
                    state: effect.state,
                })),
            },
        }
    }

    /// The output that is recorded under `key`, if all of it is still here.
    async fn recorded(
        &self,
        node: NodeId,
        cx: &Context,
        inputs: &[Output],
        key: &ActionKey,
    ) -> Result<Option<Output>, OpError> {
        match read_record(self.store.as_ref(), key)? {
            Some(record) => {
                self.graph
                    .get(node)
                    .payload
                    .complete(cx, inputs, &record.result)
                    .await
            }
            None => Ok(None),
        }
    }

    pub async fn run(
        &self,
        node: NodeId,
        cx: &Context,
        inputs: &[Output],
        work: ToRun,
        begun: Instant,
    ) -> Result<Report, OpError> {
        let vertex = self.graph.get(node);
        let known = |output, manifest, status| {
            Ok(Report::Known {
                output,
                manifest: Some(manifest),
                status,
                duration: begun.elapsed(),
            })
        };
        let Some(key) = work.key else {
            let result = vertex.payload.run(cx, inputs, work.state).await?;
            let output = self.complete(node, cx, inputs, &result).await?;
            let duration_ms = begun.elapsed().as_millis() as u64;
            let manifest = work.manifest;
            // Kept for `why`; whether the effect is in place is asked of the world, never of this record.
            self.record(
                node,
                manifest.key(),
                &manifest,
                &work.impure,
                result,
                duration_ms,
                cx,
            )?;
            return known(output, manifest, Status::Ran);
        };
        // One action runs once, however many processes and nodes want it.
        let store = Arc::clone(&self.store);
        let name = format!("action-{}", key.hex());
        let guard = tokio::task::spawn_blocking(move || store.lock(&name))
            .await
            .map_err(|error| OpError::internal(&error))??;
        let settled = self.settled.lock().ok();
        let settled = settled.and_then(|settled| settled.get(&key).cloned());
        // What this run has found out is as new as can be.
        let known_by = settled.or_else(|| (!work.force).then(|| work.manifest.clone()));
        if let Some(manifest) = known_by {
            let key = manifest.key();
            if let Some(output) = self.recorded(node, cx, inputs, &key).await? {
                remember(self.store.as_ref(), &vertex.name, key, None)?;
                return known(output, manifest, Status::Cached);
            }
        }
        let result = vertex.payload.run(cx, inputs, work.state).await?;
        let duration_ms = begun.elapsed().as_millis() as u64;
        // What it was looked up by in vain tells nothing; what it is known by from now on holds all that decided it.
        let (manifest, impure) = match vertex.payload.settled(&work.manifest, &result) {
            Some(manifest) => {
                if let Ok(mut settled) = self.settled.lock() {
                    settled.insert(key, manifest.clone());
                }
                (manifest, Vec::new())
            }
            None => (work.manifest, work.impure),
        };
        // It may have found out what was known: what it made the first time stays, and with it all that was built on it.
        if manifest.key() != key
            && let Some(output) = self.recorded(node, cx, inputs, &manifest.key()).await?
        {
            remember_failure(self.store.as_ref(), &vertex.name, None)?;
            let key = manifest.key();
            remember(self.store.as_ref(), &vertex.name, key, Some(duration_ms))?;
            return known(output, manifest, Status::Ran);
        }
        self.record(
            node,
            manifest.key(),
            &manifest,
            &impure,
            result.clone(),
            duration_ms,
            cx,
        )?;
        drop(guard);
        let output = self.complete(node, cx, inputs, &result).await?;
        known(output, manifest, Status::Ran)
    }

    async fn complete(
        &self,
        node: NodeId,
        cx: &Context,
        inputs: &[Output],
        result: &serde_json::Value,
    ) -> Result<Output, OpError> {
        let vertex = self.graph.get(node);
        vertex
            .payload
            .complete(cx, inputs, result)
            .await?
            .ok_or_else(|| OpError::Internal {
                message: format!("{} ran, but its output is not in the store", vertex.name),
            })
    }

    #[expect(clippy::too_many_arguments, reason = "a record has that many parts")]
    fn record(
        &self,
        node: NodeId,
        key: ActionKey,
        manifest: &KeyManifest,
        impure: &[String],
        result: serde_json::Value,
        duration_ms: u64,
        cx: &Context,
    ) -> Result<(), OpError> {
        let name = &self.graph.get(node).name;
        let log = match cx.log.lock() {
            Ok(mut log) => log.finish(self.store.as_ref())?,
            Err(_) => None,
        };
        remember_failure(self.store.as_ref(), name, None)?;
        let record = Record {
            node: name.clone(),
            manifest: manifest.clone(),
            result,
            impure: impure.to_vec(),
            duration_ms,
            finished: now(),
            log,
        };
        let bytes = serde_json::to_vec(&record).map_err(|error| OpError::internal(&error))?;
        self.store.put_action(&key, &bytes)?;
        remember(self.store.as_ref(), name, key, Some(duration_ms))?;
        Ok(())
    }
}
