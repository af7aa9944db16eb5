//! `tbuild lock [NODE]`: what names resolve to, written into lockfiles/.

use std::sync::Arc;

use tbuild_config::{Kind, NodeRef};
use tbuild_kinds::Nodes;

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Bases and sources [default: all of tbuild.toml]
    nodes: Vec<String>,
    /// Resolve again what is locked
    #[arg(long)]
    update: bool,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let wanted: Vec<NodeRef> = if arguments.nodes.is_empty() {
        let bases = project
            .config
            .bases
            .keys()
            .map(|name| NodeRef::new(Kind::Base, name));
        let sources = project
            .config
            .sources
            .keys()
            .map(|name| NodeRef::new(Kind::Source, name));
        bases.chain(sources).collect()
    } else {
        super::target::find(&project, &arguments.nodes)?
    };
    let engine = Engine::new(global, project)?;
    let mut graph = Nodes::new();
    let mut targets = Vec::new();
    let mut pipeline = engine.pipeline();
    if arguments.update {
        pipeline.update = wanted.iter().map(ToString::to_string).collect();
    }
    for name in &wanted {
        targets.push(pipeline.node(&mut graph, name)?);
    }
    drop(pipeline);
    // Looking is enough: a lock is written when a name is resolved, before anything is fetched.
    let outcome = super::plan::look(&engine, &Arc::new(graph), &targets).await?;
    if !outcome.failures.is_empty() {
        return Ok(crate::error::show_failures(&outcome.failures));
    }
    crate::report::eprint(&format!(
        "{} names are locked in lockfiles/\n",
        wanted.len()
    ));
    Ok(0)
}
