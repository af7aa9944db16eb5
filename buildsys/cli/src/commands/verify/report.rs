//! What the two builds came to, compared: first the steps that made other bytes of the same inputs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tbuild_compare::{LayerDifference, Report, Style, render};
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_graph::explain;
use tbuild_kinds::operand::{self, Operand};
use tbuild_kinds::{World, normalizer_for};
use tbuild_realise::{Record, read_record};
use tbuild_store::Store as _;
use tbuild_store_local::LocalStore;

use super::once::{Built, BuiltNode};
use super::stores::Stores;
use super::vary::Plan;
use crate::commands::diff::compared;
use crate::engine::Engine;
use crate::error::CliError;

/// Whether two builds gave the same.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// What was verified.
    pub node: String,
    /// Whether both gave the same.
    pub reproducible: bool,
    /// What the first gave: an image ID, or the digest of what it made.
    pub first: String,
    /// What the second gave.
    pub second: String,
    /// How long each took, in seconds.
    pub seconds: [f64; 2],
    /// In what the builds differed.
    pub varied: Vec<String>,
    /// In what they did not, with the reason.
    pub not_varied: Vec<String>,
    /// The steps that made other bytes of the same inputs.
    pub steps: Vec<Step>,
    /// Nodes whose key took something of the surroundings in: a defect of tbuild, or a file that was edited
    /// between the builds.
    pub keys: Vec<Key>,
    /// Where the results differ: what steps after those wrote, too, though they had other inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Report>,
}

/// A step that made other bytes of the same inputs.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its node.
    pub node: String,
    /// The instruction, or the command.
    pub title: String,
    /// Where it is written: `Dockerfile:3`.
    pub place: Option<String>,
    /// The number of its layer in the result, from 1; none if the result does not have it.
    pub layer: Option<usize>,
    /// What would put it right, as far as that is known: names for `# tbuild: normalize=`.
    pub normalize: Vec<String>,
    /// Where the layers differ; none if one build made none.
    pub difference: Option<Report>,
}

/// A node with two keys.
#[derive(Debug, Serialize)]
pub struct Key {
    /// The node.
    pub node: String,
    /// What of the key differs.
    pub changes: Vec<String>,
}

/// One side: what was built, and the store that has it.
struct Side {
    built: Built,
    world: Arc<World>,
}

impl Side {
    fn open(engine: &Engine, path: &Path, built: Built) -> Result<Self, CliError> {
        let store = Arc::new(LocalStore::open(path)?);
        let own = &engine.world;
        let executor = Arc::clone(&own.executor);
        let world = World::new(store, executor, own.machine.clone(), own.project.clone());
        Ok(Self {
            built,
            world: Arc::new(world),
        })
    }

    fn record(&self, node: &BuiltNode) -> Result<Option<Record>, CliError> {
        Ok(read_record(self.world.store.as_ref(), &node.key)?)
    }

    /// What the verified node came to.
    fn result(&self) -> Result<Option<Value>, CliError> {
        if let Some(image) = &self.built.image {
            return Ok(Some(Value::String(image.to_string())));
        }
        match &self.built.key {
            Some(key) => Ok(read_record(self.world.store.as_ref(), key)?.map(|one| one.result)),
            None => Ok(None),
        }
    }

    /// As something to compare.
    fn operand(&self) -> Result<Option<Operand>, CliError> {
        if let Some(image) = &self.built.image {
            return Ok(operand::from_id(&self.world, image)?);
        }
        match self.result()? {
            Some(result) => self.made(&result),
            None => Ok(None),
        }
    }

    /// What a record's result names: a layer, or an archive.
    fn made(&self, result: &Value) -> Result<Option<Operand>, CliError> {
        if let Some(layer) = layer_of(result) {
            return Ok(Some(Operand::from_layer(&self.world, layer)?));
        }
        match result["blob"].as_str().and_then(|blob| blob.parse().ok()) {
            Some(blob) => Ok(Some(Operand::from_blob(&self.world, blob)?)),
            None => Ok(None),
        }
    }
}

fn layer_of(result: &Value) -> Option<DiffId> {
    result["layer"]["diff_id"].as_str()?.parse().ok()
}

/// A result in a word.
fn digest_of(result: Option<&Value>) -> String {
    let word = |value: &Value| value.as_str().map(str::to_owned);
    match result {
        Some(Value::String(image)) => image.clone(),
        Some(result) => word(&result["digest"])
            .or_else(|| word(&result["layer"]["diff_id"]))
            .or_else(|| word(&result["blob"]))
            .unwrap_or_else(|| BlobDigest::of(result.to_string().as_bytes()).to_string()),
        None => "nothing".to_owned(),
    }
}

/// Compares what two builds came to.
pub async fn compare(
    engine: &Engine,
    stores: &Stores,
    plan: &Plan,
    node: String,
    builds: Vec<(Built, Duration)>,
    files: usize,
) -> Result<Verdict, CliError> {
    let mut sides = Vec::new();
    let mut seconds = Vec::new();
    for ((built, took), path) in builds.into_iter().zip(&stores.paths) {
        sides.push(Side::open(engine, path, built)?);
        seconds.push(took.as_secs_f64());
    }
    let [a, b] = sides.as_slice() else {
        return Err(CliError::failed("there are not two builds"));
    };
    let (one, other) = (a.result()?, b.result()?);
    let missing = &b.built.missing;
    let mut verdict = Verdict {
        node,
        reproducible: one == other,
        first: digest_of(one.as_ref()),
        second: digest_of(other.as_ref()),
        seconds: [seconds[0], seconds[1]],
        varied: plan.varied.clone(),
        not_varied: plan.fixed.iter().chain(missing).cloned().collect(),
        steps: Vec::new(),
        keys: Vec::new(),
        result: None,
    };
    for what in ["uptime", "number of processors"] {
        if !missing.iter().any(|missing| missing.starts_with(what)) {
            verdict.varied.push(what.to_owned());
        }
    }
    verdict
        .varied
        .retain(|what| !missing.iter().any(|missing| missing.starts_with(what)));
    nodes(a, b, &mut verdict, files).await?;
    if !verdict.reproducible
        && let (Some(a), Some(b)) = (a.operand()?, b.operand()?)
    {
        verdict.result = Some(compared(a, b, files).await?);
    }
    Ok(verdict)
}

/// Finds the nodes that had the same key and came to something else, and those that had two keys though
/// nothing before them differs.
async fn nodes(a: &Side, b: &Side, verdict: &mut Verdict, files: usize) -> Result<(), CliError> {
    let others: BTreeMap<&str, &BuiltNode> = b
        .built
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node))
        .collect();
    let mut layers = Vec::new();
    for node in &a.built.nodes {
        let Some(other) = others.get(node.name.as_str()) else {
            continue;
        };
        let (Some(one), Some(two)) = (a.record(node)?, b.record(other)?) else {
            continue;
        };
        if node.key != other.key {
            if verdict.steps.is_empty() && verdict.keys.is_empty() {
                let changes = explain(&one.manifest, &two.manifest);
                verdict.keys.push(Key {
                    node: node.name.clone(),
                    changes: changes.iter().map(ToString::to_string).collect(),
                });
            }
            continue;
        }
        if one.result == two.result {
            continue;
        }
        let difference = match (a.made(&one.result)?, b.made(&two.result)?) {
            (Some(a), Some(b)) => Some(compared(a, b, files).await?),
            _ => None,
        };
        layers.push(layer_of(&one.result));
        verdict.steps.push(Step {
            node: node.name.clone(),
            title: node.title.clone(),
            place: node.place.clone().map(|place| shortened(&place)),
            layer: None,
            normalize: difference.as_ref().map(normalizers).unwrap_or_default(),
            difference,
        });
    }
    let of_result = match (&a.built.image, a.result()?) {
        (Some(image), _) => {
            let id = a.world.store.read_blob(image)?.unwrap_or_default();
            let config = operand::image_layers(&id);
            config.into_iter().collect::<Vec<_>>()
        }
        (None, Some(result)) => layer_of(&result).into_iter().collect(),
        (None, None) => Vec::new(),
    };
    for (step, layer) in verdict.steps.iter_mut().zip(layers) {
        let at = layer.and_then(|layer| of_result.iter().position(|one| *one == layer));
        step.layer = at.map(|at| at + 1);
    }
    Ok(())
}

/// A place as seen from where the user stands.
fn shortened(place: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    match Path::new(place).strip_prefix(&here) {
        Ok(rest) => rest.display().to_string(),
        Err(_) => place.to_owned(),
    }
}

/// What would put all of it right, by path.
fn normalizers(report: &Report) -> Vec<String> {
    let mut names: Vec<String> = report
        .files
        .iter()
        .filter_map(|file| Some(normalizer_for(&file.path)?.to_string()))
        .collect();
    names.sort();
    names.dedup();
    names
}

impl Verdict {
    /// As people read it.
    pub fn render(&self, files: usize) -> String {
        let mut out = String::new();
        let style = Style {
            a: "first build",
            b: "second build",
            files,
        };
        let _ = if self.reproducible {
            writeln!(out, "{} is reproducible: {}", self.node, self.first)
        } else {
            writeln!(
                out,
                "{} is not reproducible\n  - {}\n  + {}",
                self.node, self.first, self.second
            )
        };
        let _ = writeln!(out, "varied: {}", self.varied.join(", "));
        let _ = writeln!(out, "not varied: {}", self.not_varied.join(", "));
        for key in &self.keys {
            let _ = writeln!(out, "\n{} had another key", key.node);
            for change in &key.changes {
                let _ = writeln!(out, "  {change}");
            }
        }
        for step in &self.steps {
            let place = step.place.as_ref().map(|place| format!(" ({place})"));
            let _ = writeln!(
                out,
                "\n{} wrote other bytes from the same inputs{}\n  {}",
                step.node,
                place.unwrap_or_default(),
                step.title.replace('\n', "\\n")
            );
            match step.layer {
                Some(number) => {
                    let _ = writeln!(out, "  layer {number} of the result");
                }
                None if self.reproducible => out.push_str("  the result has nothing of it\n"),
                None => {}
            }
            match &step.difference {
                Some(difference) => indented(&mut out, &render(difference, &style)),
                None => out.push_str("  one build wrote a layer, the other none\n"),
            }
            if !step.normalize.is_empty() {
                let names = step.normalize.join(",");
                let _ = writeln!(
                    out,
                    "hint: `# tbuild: normalize={names}` above the step would help"
                );
            }
        }
        self.render_rest(&mut out, &style);
        out
    }

    /// Where the results differ besides what the steps tell.
    fn render_rest(&self, out: &mut String, style: &Style<'_>) {
        let Some(result) = &self.result else { return };
        if self.steps.is_empty() {
            out.push('\n');
            out.push_str(&render(result, style));
            return;
        }
        let told = |layer: &LayerDifference| {
            let number = layer.name().map(|name| name.number);
            self.steps
                .iter()
                .any(|step| step.layer == number && number.is_some())
        };
        let layers: Vec<LayerDifference> = result
            .layers
            .iter()
            .filter(|layer| !told(layer))
            .cloned()
            .collect();
        if layers.is_empty() && result.config.is_empty() {
            return;
        }
        let rest = Report {
            layers,
            files: Vec::new(),
            ..result.clone()
        };
        out.push_str(
            "\nthe result differs in more, from steps that had other inputs or were not judged\n",
        );
        let text = render(&rest, style);
        indented(out, text.trim_end_matches("merged files: the same\n"));
    }
}

fn indented(out: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "  {line}");
    }
}
