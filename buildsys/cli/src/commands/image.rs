//! `tbuild image NAME`: one image of tbuild.toml.

use std::path::Path;
use std::sync::Arc;

use tbuild_config::{Kind, NodeRef};
use tbuild_kinds::{Built, Nodes, PushValue, platforms};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;
use crate::steps::StepArguments;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The images
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    output: super::build::OutputArguments,
    #[command(flatten)]
    steps: StepArguments,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    if let Some(name) = arguments
        .names
        .iter()
        .find(|name| !project.config.images.contains_key(*name))
    {
        let known: Vec<&str> = project.config.images.keys().map(String::as_str).collect();
        return Err(
            CliError::usage(format!("there is no image {name} in tbuild.toml"))
                .hint(format!("images: {}", known.join(", "))),
        );
    }
    let outputs = arguments.output.parse()?;
    for name in &arguments.names {
        let platforms = platforms::sorted(&project.config.images[name].platforms);
        if platforms.len() > 1 {
            arguments.output.refuse_several(&outputs, &platforms)?;
        }
    }
    let start = global.directory.as_deref().unwrap_or(Path::new("."));
    let start = std::path::absolute(start).map_err(|error| CliError::internal(&error))?;
    let steps = arguments.steps.settings(&start)?;
    let engine = Engine::with_steps(global, project, steps)?;
    let mut graph = Nodes::new();
    let (mut images, mut pushes) = (Vec::new(), Vec::new());
    let mut pipeline = engine.pipeline();
    for name in &arguments.names {
        images.push(pipeline.node(&mut graph, &NodeRef::new(Kind::Image, name))?);
        if arguments.output.push {
            pushes.push(pipeline.push(&mut graph, name)?);
        }
    }
    pipeline.finish(&mut graph)?;
    engine.warn(&pipeline.warnings);
    if !global.dry_run {
        pipeline.can_run()?;
    }
    drop(pipeline);
    let targets: Vec<_> = images.iter().chain(&pushes).copied().collect();
    let outcome = engine.realise(Arc::new(graph), &targets).await?;
    if global.dry_run {
        return Ok(0);
    }
    for (name, node) in arguments.names.iter().zip(&images) {
        let Some(built) = outcome.outputs.get(node).and_then(Built::of) else {
            continue;
        };
        let config = &engine.project.config.images[name];
        let names: Vec<String> = config
            .tags
            .iter()
            .map(|tag| format!("{}:{tag}", config.repository))
            .collect();
        let load = arguments.output.load;
        let id = super::build::deliver(&engine, &built, &names, &outputs, load).await?;
        if !global.json {
            crate::output::line(id);
        }
    }
    for node in &pushes {
        if let Some(pushed) = outcome
            .outputs
            .get(node)
            .and_then(tbuild_realise::Output::get::<PushValue>)
            && !global.json
        {
            crate::output::line(&pushed.reference);
        }
    }
    Ok(0)
}
