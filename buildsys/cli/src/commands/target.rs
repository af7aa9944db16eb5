//! `tbuild [TARGET...]`: realises targets by name, or runs a `[command.NAME]`.

use std::collections::BTreeMap;
use std::process::Command as Process;
use std::sync::Arc;

use tbuild_config::{Command, JsonMap, NodeRef};
use tbuild_kinds::Nodes;
use tbuild_realise::Outcome;

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// The nodes that names mean.
pub fn find(project: &Project, names: &[String]) -> Result<Vec<NodeRef>, CliError> {
    names
        .iter()
        .map(|name| {
            project.config.find(name).map_err(|error| {
                let failure = CliError::usage(error.to_string());
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })
        })
        .collect()
}

/// Runs it.
pub async fn run(global: &Global, names: &[String], rest: &[String]) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    if let [name] = names
        && project.config.commands.contains_key(name)
    {
        return run_named(global, project, name, rest).await;
    }
    if !rest.is_empty() {
        return Err(CliError::usage(
            "only a [command.NAME] takes arguments after --",
        ));
    }
    let wanted = if names.is_empty() {
        project
            .config
            .project
            .default
            .iter()
            .map(|name| name.value.clone())
            .collect()
    } else {
        find(&project, names)?
    };
    if wanted.is_empty() {
        return Err(CliError::usage(
            "no target is named, and project.default has none",
        ));
    }
    realise(&Engine::new(global, project)?, &wanted).await?;
    Ok(0)
}

/// Realises nodes.
pub async fn realise(engine: &Engine, wanted: &[NodeRef]) -> Result<Outcome, CliError> {
    realise_told(engine, wanted, BTreeMap::new(), &[]).await
}

/// Realises nodes; tasks are told `parameters`, and those in `again` run although they have succeeded.
pub async fn realise_told(
    engine: &Engine,
    wanted: &[NodeRef],
    parameters: BTreeMap<String, JsonMap>,
    again: &[&str],
) -> Result<Outcome, CliError> {
    let mut graph = Nodes::new();
    let mut targets = Vec::new();
    {
        let mut pipeline = engine.pipeline();
        pipeline.parameters = parameters;
        pipeline.again = again.iter().map(|&task| task.to_owned()).collect();
        for name in wanted {
            targets.push(pipeline.node(&mut graph, name)?);
        }
        pipeline.finish(&mut graph)?;
        engine.warn(&pipeline.warnings);
        if !engine.global.dry_run {
            pipeline.can_run()?;
        }
    }
    engine.realise(Arc::new(graph), &targets).await
}

/// Runs the `[command.NAME]` with more arguments.
pub async fn command(global: &Global, name: &str, more: &[String]) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    run_named(global, project, name, more).await
}

async fn run_named(
    global: &Global,
    project: Project,
    name: &str,
    rest: &[String],
) -> Result<u8, CliError> {
    let Some(command) = project.config.commands.get(name).cloned() else {
        return Err(CliError::usage(format!(
            "tbuild.toml has no [command.{name}]"
        )));
    };
    run_command(global, project, &command, rest).await
}

/// Runs a command of tbuild.toml once its needs are realised. `tbuild` in front is this very program, with
/// the options that this call was given.
async fn run_command(
    global: &Global,
    project: Project,
    command: &Command,
    rest: &[String],
) -> Result<u8, CliError> {
    let folder = project.folder.clone();
    let needs: Vec<NodeRef> = command
        .needs
        .iter()
        .map(|need| need.value.clone())
        .collect();
    if command.component.is_some() {
        if !needs.is_empty() {
            realise(&Engine::new(global, project)?, &needs).await?;
        }
        let project = Project::load(global)?;
        return super::inside::command(global, &project, command, rest).await;
    }
    if !needs.is_empty() {
        realise(&Engine::new(global, project)?, &needs).await?;
    }
    let mut argv = command.run.argv();
    if argv.is_empty() {
        return Err(CliError::usage("the command is empty"));
    }
    if argv[0] == "tbuild" {
        let mut own = vec![
            std::env::current_exe()
                .unwrap_or_else(|_| crate::engine::myself())
                .display()
                .to_string(),
        ];
        own.extend(
            global
                .profile
                .iter()
                .map(|profile| format!("--profile={profile}")),
        );
        own.extend(global.set.iter().map(|set| format!("--set={set}")));
        own.extend(
            global
                .source
                .iter()
                .map(|source| format!("--source={source}")),
        );
        own.extend(
            global
                .store
                .iter()
                .map(|store| format!("--store={}", store.display())),
        );
        argv.splice(0..1, own);
    }
    let mut process = Process::new(&argv[0]);
    if global.rootless {
        // It may call tbuild in turn, which has to know that it is root in a user namespace alone.
        process.env(crate::engine::ROOTLESS, "1");
    }
    process.args(&argv[1..]).args(rest).current_dir(folder);
    let status = process
        .status()
        .map_err(|error| CliError::failed(format!("cannot start {}: {error}", argv[0])))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}
