//! `tbuild artifact NAME`: one artifact of tbuild.toml.

use std::path::PathBuf;
use std::sync::Arc;

use tbuild_config::{Kind, NodeRef};
use tbuild_kinds::{Nodes, TreeValue};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The artifact
    name: String,
    /// Copy its files into this folder
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let engine = Engine::new(global, Project::load(global)?)?;
    let mut graph = Nodes::new();
    let node = engine
        .pipeline()
        .node(&mut graph, &NodeRef::new(Kind::Artifact, &arguments.name))?;
    let outcome = engine.realise(Arc::new(graph), &[node]).await?;
    let Some(tree) = outcome
        .outputs
        .get(&node)
        .and_then(tbuild_realise::Output::get::<TreeValue>)
    else {
        return Ok(0);
    };
    if let Some(folder) = &arguments.output {
        let (world, folder, tree) = (Arc::clone(&engine.world), folder.clone(), Arc::clone(&tree));
        let written =
            tokio::task::spawn_blocking(move || tbuild_kinds::export::tree(&world, &tree, &folder));
        written
            .await
            .map_err(|error| CliError::internal(&error))??;
    }
    if !global.json {
        crate::output::line(tree.digest);
    }
    Ok(0)
}
