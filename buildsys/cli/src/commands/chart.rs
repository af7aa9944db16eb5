//! `tbuild chart NAME`: one chart of tbuild.toml, packaged.

use std::path::PathBuf;
use std::sync::Arc;

use tbuild_config::{Kind, NodeRef};
use tbuild_kinds::{ChartValue, Nodes};
use tbuild_store::Store as _;

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The chart
    name: String,
    /// Write NAME-VERSION.tgz into this folder
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let engine = Engine::new(global, Project::load(global)?)?;
    let mut graph = Nodes::new();
    let node = engine
        .pipeline()
        .node(&mut graph, &NodeRef::new(Kind::Chart, &arguments.name))?;
    let outcome = engine.realise(Arc::new(graph), &[node]).await?;
    let Some(chart) = outcome
        .outputs
        .get(&node)
        .and_then(tbuild_realise::Output::get::<ChartValue>)
    else {
        return Ok(0);
    };
    if let Some(folder) = &arguments.output {
        let bytes = engine
            .world
            .store
            .read_blob(&chart.blob)?
            .unwrap_or_default();
        let path = folder.join(format!("{}-{}.tgz", chart.name, chart.version));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(|error| {
                CliError::failed(format!("cannot write {}: {error}", path.display()))
            })?;
    }
    if !global.json {
        crate::output::line(chart.blob);
    }
    Ok(0)
}
