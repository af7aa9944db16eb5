//! Releases: a chart in a cluster, upgraded when what it renders to has changed.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tbuild_exec::{Cancel, Stream};
use tbuild_graph::KeyManifest;
use tbuild_helm::{HelmError, Recovery, Upgrade};
use tbuild_kube::{Failure, Rollout};
use tbuild_realise::{Context, Effect, Op, OpError, Output, Prepared};
use tbuild_store::Store as _;

use crate::ReleaseValue;
use crate::deploy::{Desired, helm_failure, helm_program, kube_failure, label};
use crate::deployed::note_release;

/// A release. Its inputs: chart, helm, the images' pushes.
pub(crate) struct Release {
    pub desired: Desired,
    pub timeout: Duration,
}

/// How often the rollout is looked at.
const LOOK: Duration = Duration::from_millis(500);

impl Release {
    /// Keeps the images from being collected.
    fn note(&self, cluster: &str, values: &Value) -> Result<(), OpError> {
        let images = values["images"].as_object().into_iter().flatten();
        let images = images.filter_map(|(_, image)| image.as_str().map(str::to_owned));
        let Desired {
            world,
            release,
            namespace,
            ..
        } = &self.desired;
        let place = (cluster, namespace.as_str(), release.as_str());
        Ok(note_release(world.store.as_ref(), place, images)?)
    }

    fn manifest(&self, documents: &[Value]) -> KeyManifest {
        let named = documents.iter().map(|document| {
            let text = |path: &str| {
                document
                    .pointer(path)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            (
                format!("{} {}", text("/kind"), text("/metadata/name")),
                document.to_string(),
            )
        });
        KeyManifest::new("release/1")
            .text("release", &self.desired.release)
            .text("namespace", &self.desired.namespace)
            .map("object", named.collect::<BTreeMap<_, _>>())
    }
}

#[async_trait]
impl Op for Release {
    fn title(&self) -> String {
        format!("helm upgrade --install {}", self.desired.release)
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let (chart, helm, values) = self.desired.resolve(inputs)?;
        let documents = self.desired.render(&chart, &helm, &values, None).await?;
        let manifest = self.manifest(&documents);
        let key = label(&manifest.key());
        let cluster = self.desired.world.cluster().await?;
        let state = cluster
            .release_state(&self.desired.namespace, &self.desired.release)
            .await
            .map_err(|error| kube_failure(&error))?;
        let (satisfied, reason) = match &state {
            None => (false, "it is not installed".to_owned()),
            Some(state) if state.status != "deployed" => (
                false,
                format!("revision {} is {}", state.revision, state.status),
            ),
            Some(state) if state.key() != Some(key.as_str()) => {
                (false, "what it renders to has changed".to_owned())
            }
            Some(_) => (true, String::new()),
        };
        if satisfied {
            // Perhaps by another store, or a tbuild that kept no account.
            self.note(cluster.url(), &values)?;
        }
        let satisfied = satisfied.then(|| Output::new(ReleaseValue { key: key.clone() }));
        Ok(Prepared::Effect(Effect {
            manifest,
            satisfied,
            reason,
            state: Box::new(key),
        }))
    }

    async fn run(
        &self,
        cx: &Context,
        inputs: &[Output],
        state: Box<dyn Any + Send + Sync>,
    ) -> Result<Value, OpError> {
        let key = *state.downcast::<String>().map_err(|_| OpError::Internal {
            message: "a release's state is another's".to_owned(),
        })?;
        let Desired {
            world,
            release,
            namespace,
            ..
        } = &self.desired;
        let (chart, file, values) = self.desired.resolve(inputs)?;
        let helm = helm_program(world, &file);
        let archive = self.desired.archive(&chart)?;
        let cluster = self.desired.world.cluster().await?;
        // One tbuild of this store at a time. Its helm dies with it: a pending release has nobody at work.
        let (store, name) = (
            std::sync::Arc::clone(&world.store),
            format!("release-{}-{namespace}-{release}", cluster.url()),
        );
        let _alone = crate::world::blocking(move || Ok(store.lock(&name)?)).await?;
        // Before a cluster hears of them.
        self.note(cluster.url(), &values)?;
        let mut sink =
            |stream: Stream, line: &str| cx.output(stream, format!("{line}\n").as_bytes());
        let recovered = helm
            .recover(
                release,
                namespace,
                false,
                self.timeout,
                &mut sink,
                &cx.cancel,
            )
            .await;
        match recovered.map_err(|error| helm_failure(&error))? {
            Recovery::NotNeeded => {}
            Recovery::RolledBack { to } => cx.notice(format!(
                "a dead client left it pending: rolled back to revision {to}"
            )),
            Recovery::Uninstalled => cx.notice(
                "a dead client left its first installation pending: removed what it had made",
            ),
        }
        let before = cluster
            .release_state(namespace, release)
            .await
            .map_err(|error| kube_failure(&error))?;
        let labels = BTreeMap::from([("tbuild-key".to_owned(), key.clone())]);
        let upgrade = Upgrade {
            release,
            chart: &archive,
            namespace,
            values: &values,
            labels: &labels,
            timeout: self.timeout,
            wait: true,
            force_conflicts: false,
        };
        let stop = Cancel::new();
        let (result, failing) = {
            let mut rollout = Box::pin(cluster.watch_rollout(namespace, release, LOOK));
            let work = helm.upgrade_install(&upgrade, &mut sink, &stop);
            tokio::pin!(work);
            let mut failing: Option<Failure> = None;
            let mut tick = tokio::time::interval(Duration::from_millis(100));
            let result = loop {
                tokio::select! {
                    result = &mut work => break result,
                    _ = tick.tick() => if cx.cancel.is_cancelled() { stop.cancel(); },
                    seen = rollout.next() => if let Some(Ok(Rollout { workloads, failing: found, for_good })) = seen {
                        let (ready, all) = workloads.iter().fold((0, 0), |(ready, all), one| (ready + one.ready, all + one.desired));
                        cx.progress("rollout: pods ready", ready.max(0) as u64, Some(all.max(0) as u64), false);
                        failing = found.or(failing);
                        if for_good {
                            stop.cancel();
                        }
                    }
                }
            };
            (result, failing)
        };
        let Err(error) = result else {
            return Ok(json!(key));
        };
        if cx.cancel.is_cancelled() {
            return Err(OpError::Cancelled);
        }
        let mut message = match &failing {
            Some(failing) => format!("release {release} does not come up: {failing}"),
            None => OpError::failed(&error).to_string(),
        };
        if let (Some(_), HelmError::Failed { message: helm, .. }) = (&failing, &error) {
            message = format!("{message}\nhelm says: {helm}");
        }
        // The evidence is told; now what was there before serves on.
        if let Some(revision) = before.and_then(|state| state.deployed) {
            let back = helm
                .rollback(
                    release,
                    namespace,
                    Some(revision),
                    None,
                    &mut sink,
                    &cx.cancel,
                )
                .await;
            let outcome = match back {
                Ok(()) => format!("rolled back to revision {revision}, which serves on"),
                Err(error) => format!("rolling back to revision {revision} failed too: {error}"),
            };
            return Err(OpError::failed_text(message).hint(outcome));
        }
        Err(OpError::failed_text(message))
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
