//! `tbuild tool NAME [-- ARGS]`: runs a tool of tbuild.toml.

use std::ffi::OsString;
use std::process::Command as Process;
use std::sync::Arc;

use tbuild_config::{Kind, NodeRef};
use tbuild_helm::Helm;
use tbuild_kinds::{FileValue, Nodes};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The tool
    name: String,
    /// Print its path and run nothing
    #[arg(long)]
    path: bool,
    /// Its arguments
    #[arg(last = true)]
    rest: Vec<String>,
}

/// helm of tbuild.toml, ready to be run.
pub async fn helm(engine: &Engine) -> Result<Helm, CliError> {
    let mut graph = Nodes::new();
    let node = engine
        .pipeline()
        .node(&mut graph, &NodeRef::new(Kind::Tool, "helm"))?;
    let outcome = engine.realise(Arc::new(graph), &[node]).await?;
    let file = outcome
        .outputs
        .get(&node)
        .and_then(tbuild_realise::Output::get::<FileValue>);
    let file = file.ok_or_else(|| CliError::usage("there is no tool helm"))?;
    Ok(tbuild_kinds::helm_program(&engine.world, &file))
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let engine = Engine::new(global, Project::load(global)?)?;
    let mut graph = Nodes::new();
    let node = engine
        .pipeline()
        .node(&mut graph, &NodeRef::new(Kind::Tool, &arguments.name))?;
    let outcome = engine.realise(Arc::new(graph), &[node]).await?;
    let file = outcome
        .outputs
        .get(&node)
        .and_then(tbuild_realise::Output::get::<FileValue>);
    let Some(file) = file else { return Ok(0) };
    if arguments.path {
        crate::output::line(file.path.display());
        return Ok(0);
    }
    let mut argv: Vec<OsString> = crate::engine::as_user(global)
        .into_iter()
        .map(OsString::from)
        .collect();
    argv.push(file.path.clone().into());
    let mut process = Process::new(argv.remove(0));
    process.args(argv).args(&arguments.rest);
    if std::env::var_os("KUBECONFIG").is_none()
        && let Some(kubeconfig) = engine.world.machine.kubeconfigs.first()
    {
        process.env("KUBECONFIG", kubeconfig);
    }
    let status = process.status().map_err(|error| {
        CliError::failed(format!("cannot start {}: {error}", file.path.display()))
    })?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}
