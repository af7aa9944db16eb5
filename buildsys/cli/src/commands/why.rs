//! `tbuild why NODE`: why it would run now, or why it ran last; `tbuild why pod/NAME`: what a pod runs, likewise.

use std::collections::BTreeSet;
use std::sync::Arc;

use tbuild_graph::{Change, KeyManifest, NodeId, explain};
use tbuild_kinds::{ImageValue, Nodes, StateValue, compare_listings, platforms, read_listing};
use tbuild_kube::PodView;
use tbuild_realise::{Outcome, Status, last, read_record};
use tbuild_store::Store;

use super::status::{connect, failure};
use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::output::line;
use crate::project::Project;

/// How many changed files are named.
const FILES: usize = 10;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node: image:X, artifact:X, step:X/STAGE/N, or a bare name; or pod/NAME, for what it runs
    node: String,
}

/// The differences between two manifests, in words; files by name, layers by what wrote them.
pub fn describe(
    store: &dyn Store,
    old: &KeyManifest,
    new: &KeyManifest,
    layers: &[String],
) -> Vec<String> {
    let mut lines = Vec::new();
    for change in explain(old, new) {
        if let Some(line) = layer_change(&change, layers) {
            lines.push(line);
            continue;
        }
        let Change::Files { field, old, new } = &change else {
            lines.push(change.to_string());
            continue;
        };
        let listing = |digest| read_listing(store, digest).ok().flatten();
        let (Some(before), Some(after)) = (listing(old), listing(new)) else {
            lines.push(change.to_string());
            continue;
        };
        let files = compare_listings(&before, &after);
        for file in files.iter().take(FILES) {
            lines.push(format!("{field}: {} ({})", file.path, file.what));
        }
        if files.len() > FILES {
            lines.push(format!("{field}: and {} files more", files.len() - FILES));
        }
    }
    lines
}

/// A layer that is another one now, by what wrote it; none if the change is no layer's, or nobody knows.
fn layer_change(change: &Change, layers: &[String]) -> Option<String> {
    let Change::Text {
        field,
        old: Some(_),
        new: Some(_),
    } = change
    else {
        return None;
    };
    let at = field.strip_prefix("layer[")?.strip_suffix(']')?;
    let writer = layers.get(at.parse::<usize>().ok()?)?;
    (!writer.is_empty()).then(|| format!("the layer of {writer} changed"))
}

/// What wrote the layers that `node` works on.
pub fn layers_below(graph: &Nodes, outcome: &Outcome, node: NodeId) -> Vec<String> {
    let parent = graph.get(node).inputs.first();
    let Some(output) = parent.and_then(|parent| outcome.outputs.get(parent)) else {
        return Vec::new();
    };
    let state = output.get::<StateValue>();
    let image = || output.get::<ImageValue>();
    state
        .map(|state| state.layer_names())
        .or_else(|| image().map(|image| image.state.layer_names()))
        .unwrap_or_default()
}

/// The nodes that `wanted` names: itself, or, for a step, whatever has it.
fn add(engine: &Engine, graph: &mut Nodes, wanted: &str) -> Result<NodeId, CliError> {
    let mut pipeline = engine.pipeline();
    if let Some(step) = wanted.strip_prefix("step:") {
        let image = platforms::plain_name(step.split('/').next().unwrap_or_default());
        pipeline.node(
            graph,
            &tbuild_config::NodeRef::new(tbuild_config::Kind::Image, image),
        )?;
        return graph.find(wanted).ok_or_else(|| {
            let steps: Vec<&str> = graph
                .iter()
                .map(|(_, vertex)| vertex.name.as_str())
                .filter(|name| name.starts_with("step:"))
                .collect();
            CliError::usage(format!("there is no {wanted}"))
                .hint(format!("steps: {}", steps.join(", ")))
        });
    }
    let nodes = super::target::find(&engine.project, &[wanted.to_owned()])?;
    let mut found = None;
    for node in &nodes {
        found = Some(pipeline.node(graph, node)?);
    }
    found.ok_or_else(|| CliError::usage(format!("there is no {wanted}")))
}

/// The pod of that name, in whichever namespace of the releases it is, and its release's namespace.
async fn find_pod(global: &Global, project: &Project, name: &str) -> Result<PodView, CliError> {
    let cluster = connect(global).await?;
    let mut namespaces: Vec<&str> = project
        .config
        .releases
        .values()
        .map(|release| release.namespace.as_str())
        .collect();
    namespaces.dedup();
    for namespace in &namespaces {
        let pods = cluster.pods(namespace, "").await;
        let pods = pods.map_err(|error| failure(&error))?;
        if let Some(pod) = pods.into_iter().find(|pod| pod.name == name) {
            return Ok(pod);
        }
    }
    Err(CliError::usage(format!(
        "there is no pod {name} in {}",
        namespaces.join(", ")
    )))
}

/// The image of tbuild.toml whose repository a container's reference names.
fn image_of<'a>(project: &'a Project, reference: &str) -> Option<&'a str> {
    let (repository, _) = reference.split_once('@')?;
    let images = project.config.images.iter();
    let found = images.filter(|(_, image)| {
        repository
            .strip_suffix(image.repository.as_str())
            .is_some_and(|registry| registry.ends_with('/'))
    });
    found
        .max_by_key(|(_, image)| image.repository.len())
        .map(|(name, _)| name.as_str())
}

/// A pod's way back: its containers' digests, the images of tbuild.toml that they are of, and why each of those is
/// what it is.
async fn pod(global: &Global, name: &str) -> Result<u8, CliError> {
    let engine = Engine::new(global, Project::load(global)?)?;
    let pod = find_pod(global, &engine.project, name).await?;
    line(format!("pod {name} is {}", pod.phase));
    let mut told = BTreeSet::new();
    for container in &pod.containers {
        line(format!(
            "container {} runs {}",
            container.name, container.image
        ));
        let Some(image) = image_of(&engine.project, &container.image) else {
            line("  which no image of tbuild.toml is");
            continue;
        };
        let pushed = format!("push:{image}");
        let store = engine.world.store.as_ref();
        let known = last(store, &pushed)?;
        let record = |key| -> Result<Option<String>, CliError> {
            let record = read_record(store, key)?;
            Ok(record.and_then(|record| record.result.as_str().map(str::to_owned)))
        };
        let mut word = "of an earlier state of the files, or another store's";
        if let Some(known) = &known {
            let is = |digest: Option<String>| {
                digest.is_some_and(|digest| container.image.ends_with(&digest))
            };
            if is(record(&known.key)?) {
                word = "as it was pushed last";
            } else if let Some(previous) = &known.previous
                && is(record(previous)?)
            {
                word = "as it was pushed before the last time";
            }
        }
        line(format!("  image:{image}, {word}"));
        if told.insert(image.to_owned()) {
            node(&engine, &format!("image:{image}")).await?;
        }
    }
    Ok(0)
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    if let Some(name) = arguments.node.strip_prefix("pod/") {
        return pod(global, name).await;
    }
    let engine = Engine::new(global, Project::load(global)?)?;
    node(&engine, &arguments.node).await
}

/// Tells why a node would run now, or why it ran last.
async fn node(engine: &Engine, wanted: &str) -> Result<u8, CliError> {
    let mut graph = Nodes::new();
    let target = add(engine, &mut graph, wanted)?;
    let graph = Arc::new(graph);
    let outcome = super::plan::look(engine, &graph, &[target]).await?;
    if !outcome.failures.is_empty() {
        return Ok(crate::error::show_failures(&outcome.failures));
    }
    let pending: Vec<NodeId> = outcome
        .statuses
        .iter()
        .filter(|(_, status)| **status == Status::WouldRun)
        .map(|(node, _)| *node)
        .collect();
    for node in &pending {
        line(format!("{} would run:", graph.get(*node).name));
        for reason in super::plan::reasons(engine, &graph, &outcome, *node) {
            line(format!("  {reason}"));
        }
    }
    if !pending.is_empty() {
        return Ok(0);
    }
    line(format!("{} is up to date", graph.get(target).name));
    let store = engine.world.store.as_ref();
    for node in graph
        .closure(&[target])
        .map_err(|error| CliError::usage(error.to_string()))?
    {
        let name = &graph.get(node).name;
        let Some(known) = last(store, name)? else {
            continue;
        };
        let Some(previous) = known.previous else {
            continue;
        };
        let (Some(before), Some(now)) = (
            read_record(store, &previous)?,
            read_record(store, &known.key)?,
        ) else {
            continue;
        };
        let layers = layers_below(&graph, &outcome, node);
        let changes = describe(store, &before.manifest, &now.manifest, &layers);
        if !changes.is_empty() {
            line(format!("{name} last changed because:"));
            for change in changes {
                line(format!("  {change}"));
            }
        }
    }
    Ok(0)
}
