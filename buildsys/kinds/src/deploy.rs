//! What releases and tasks share: values, rendered documents, the cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tbuild_digest::{ContentHash as _, Encoder};
use tbuild_helm::Helm;
use tbuild_kube::KubeError;
use tbuild_realise::{OpError, Output};
use tbuild_store::Store as _;

use crate::value::{PushValue, input};
use crate::{ChartValue, FileValue, World};

/// The store's space for rendered documents, by all that decides them.
const RENDERED: &str = "rendered";
/// Characters of a key that fit a label.
const KEY: usize = 40;

/// What a release is made of, but for its images.
pub(crate) struct Desired {
    pub world: Arc<World>,
    /// The release.
    pub release: String,
    pub namespace: String,
    /// The user's values, files and `set` merged.
    pub values: Value,
    /// `.Values.images.KEY`, in the order of the inputs after chart and helm.
    pub images: Vec<String>,
}

/// helm, as this world runs it.
pub fn helm_program(world: &World, file: &FileValue) -> Helm {
    Helm {
        program: file.path.clone(),
        launcher: world.launcher.clone(),
        env: world.machine.helm_env.clone(),
        kubeconfig: world.machine.kubeconfigs.first().cloned(),
        ..Helm::default()
    }
}

impl Desired {
    /// Chart, helm, and the values with the images' references filled in. Inputs: chart, helm, pushes.
    pub(crate) fn resolve(
        &self,
        inputs: &[Output],
    ) -> Result<(Arc<ChartValue>, Arc<FileValue>, Value), OpError> {
        let (chart, helm) = (
            input::<ChartValue>(inputs, 0)?,
            input::<FileValue>(inputs, 1)?,
        );
        let mut images = BTreeMap::new();
        for (at, name) in self.images.iter().enumerate() {
            images.insert(
                name.clone(),
                input::<PushValue>(inputs, at + 2)?.reference.clone(),
            );
        }
        let mut values = self.values.clone();
        values["images"] = json!(images);
        Ok((chart, helm, values))
    }

    /// The chart's archive as a file.
    pub(crate) fn archive(&self, chart: &ChartValue) -> Result<PathBuf, OpError> {
        let path = self.world.store.scratch("charts")?.join(format!(
            "{}-{}-{}.tgz",
            chart.name,
            chart.version,
            chart.blob.hex()
        ));
        if !path.exists() {
            let bytes =
                self.world
                    .store
                    .read_blob(&chart.blob)?
                    .ok_or_else(|| OpError::Internal {
                        message: format!("chart {} is not in the store", chart.name),
                    })?;
            let failed = |error: std::io::Error| OpError::internal(&error);
            let file =
                tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&path)).map_err(failed)?;
            std::fs::write(file.path(), bytes).map_err(failed)?;
            file.persist(&path).map_err(|error| failed(error.error))?;
        }
        Ok(path)
    }

    /// What helm renders: asked once, then kept by chart, values and helm.
    pub(crate) async fn render(
        &self,
        chart: &ChartValue,
        helm: &FileValue,
        values: &Value,
        template: Option<&str>,
    ) -> Result<Vec<Value>, OpError> {
        let mut encoder = Encoder::new();
        chart.blob.hash_content(&mut encoder);
        helm.digest.hash_content(&mut encoder);
        for text in [
            &self.release,
            &self.namespace,
            &values.to_string(),
            template.unwrap_or(""),
        ] {
            text.hash_content(&mut encoder);
        }
        let name = encoder.finish().hex();
        let kept = self.world.store.reference(RENDERED, &name)?;
        if let Some(documents) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(documents);
        }
        let only: Vec<&str> = template.into_iter().collect();
        let documents = helm_program(&self.world, helm)
            .template(
                &self.release,
                &self.archive(chart)?,
                &self.namespace,
                values,
                &only,
            )
            .await
            .map_err(|error| helm_failure(&error))?;
        let bytes = serde_json::to_vec(&documents).map_err(|error| OpError::internal(&error))?;
        self.world
            .store
            .set_reference(RENDERED, &name, Some(&bytes))?;
        Ok(documents)
    }
}

/// A key as a label's value.
pub(crate) fn label(key: &tbuild_digest::ActionKey) -> String {
    key.hex()[..KEY].to_owned()
}

/// A cluster's refusal, or its absence.
pub(crate) fn kube_failure(error: &KubeError) -> OpError {
    if error.is_unreachable() {
        OpError::unreachable(error)
            .hint("is a cluster there? `tbuild node up` brings up one on this machine")
    } else {
        OpError::failed(error)
    }
}

/// helm's refusal.
pub(crate) fn helm_failure(error: &tbuild_helm::HelmError) -> OpError {
    match error {
        tbuild_helm::HelmError::Cancelled(_) => OpError::Cancelled,
        tbuild_helm::HelmError::Start { .. } => OpError::unreachable(error),
        _ => OpError::failed(error),
    }
}
