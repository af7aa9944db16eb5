//! `tbuild lock [NODE]`: what names resolve to, written into lockfiles/.

use std::collections::BTreeSet;
use std::sync::Arc;

use tbuild_config::{Config, Kind, Network, NodeRef};
use tbuild_kinds::{Nodes, Relock, StepSettings};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Bases and sources [default: all of tbuild.toml and of its images' Dockerfiles]; images and artifacts whose
    /// network is recorded
    nodes: Vec<String>,
    /// Resolve again what is locked
    #[arg(long)]
    update: bool,
}

/// The names that the images of tbuild.toml are built on, whether tbuild.toml mentions them or their
/// Dockerfiles alone.
fn bases_of_images(engine: &Engine) -> Result<BTreeSet<String>, CliError> {
    let mut graph = Nodes::new();
    let mut pipeline = engine.pipeline();
    for name in engine.project.config.images.keys() {
        pipeline.node(&mut graph, &NodeRef::new(Kind::Image, name))?;
    }
    let names = graph.iter().filter_map(|(_, vertex)| {
        let name = vertex.name.strip_prefix("base:")?;
        Some(name.to_owned())
    });
    Ok(names.collect())
}

/// Whether a node is locked by running it: its network is recorded.
fn is_recorded(config: &Config, node: &NodeRef) -> Result<bool, CliError> {
    let network = match node.kind {
        Kind::Image => config
            .images
            .get(&node.name)
            .and_then(|image| image.network),
        Kind::Artifact => config.artifacts.get(&node.name).map(|made| made.network),
        _ => return Ok(false),
    };
    if network == Some(Network::Recorded) {
        return Ok(true);
    }
    let what = format!("there is nothing to lock of {node}: its network is not recorded");
    Err(CliError::usage(what).hint("tbuild.toml says so: network = \"record\""))
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let mut steps = StepSettings {
        reduce: true,
        ..StepSettings::default()
    };
    if arguments.update {
        let found = arguments.nodes.iter();
        let found = found.filter_map(|name| project.config.find(name).ok());
        steps.relock = Relock::Of(found.map(|node| node.to_string()).collect());
    }
    let engine = Engine::with_steps(global, project, steps)?;
    let config = &engine.project.config;
    let mut wanted: Vec<NodeRef> = Vec::new();
    if arguments.nodes.is_empty() {
        let mut bases = bases_of_images(&engine)?;
        bases.extend(config.bases.keys().cloned());
        wanted.extend(bases.iter().map(|name| NodeRef::new(Kind::Base, name)));
        let sources = config.sources.keys();
        wanted.extend(sources.map(|name| NodeRef::new(Kind::Source, name)));
    }
    for name in &arguments.nodes {
        match super::target::find(&engine.project, std::slice::from_ref(name)) {
            Ok(found) => wanted.extend(found),
            Err(error) => {
                let base = name.strip_prefix("base:").unwrap_or(name);
                if !bases_of_images(&engine)?.contains(base) {
                    return Err(error);
                }
                wanted.push(NodeRef::new(Kind::Base, base));
            }
        }
    }
    let mut graph = Nodes::new();
    let (mut targets, mut recorded) = (Vec::new(), Vec::new());
    let mut pipeline = engine.pipeline();
    if arguments.update {
        pipeline.update = wanted.iter().map(ToString::to_string).collect();
    }
    for name in &wanted {
        let node = pipeline.node(&mut graph, name)?;
        if is_recorded(config, name)? {
            recorded.push(node);
        } else {
            targets.push(node);
        }
    }
    drop(pipeline);
    let graph = Arc::new(graph);
    // Looking is enough: a lock is written when a name is resolved, before anything is fetched.
    let outcome = super::plan::look(&engine, &graph, &targets).await?;
    if !outcome.failures.is_empty() {
        return Ok(crate::error::show_failures(&outcome.failures));
    }
    if !recorded.is_empty() {
        // What steps ask for is known when they have run; this shows its failures itself.
        engine.realise(graph, &recorded).await?;
    }
    crate::report::eprint(&format!(
        "{} names are locked in lockfiles/\n",
        wanted.len()
    ));
    Ok(0)
}
