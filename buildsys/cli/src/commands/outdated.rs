//! `tbuild outdated [NODE...]`: what is newer than what is locked. Writes nothing, runs no step.

use std::collections::BTreeSet;

use tbuild_config::{Kind, NodeRef};
use tbuild_kinds::{Outdated, Survey, network_locks, survey_networks};

use super::lock::{all_bases, is_recorded, named};
use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Bases, sources; images and artifacts whose network is recorded [default: all that is locked]
    nodes: Vec<String>,
    /// Exit with 4 where something is newer than what is locked
    #[arg(long)]
    exit_code: bool,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    if global.offline {
        return Err(CliError::usage("--offline: origins are to be asked"));
    }
    let engine = Engine::new(global, Project::load(global)?)?;
    let survey = survey(&engine, &arguments.nodes).await?;
    show(&engine, &survey);
    let is_outdated = arguments.exit_code && !survey.outdated.is_empty();
    Ok(if is_outdated { 4 } else { 0 })
}

async fn survey(engine: &Engine, names: &[String]) -> Result<Survey, CliError> {
    let config = &engine.project.config;
    let mut nodes = Vec::new();
    let mut networks = BTreeSet::new();
    if names.is_empty() {
        let bases = all_bases(engine)?;
        nodes.extend(bases.iter().map(|name| NodeRef::new(Kind::Base, name)));
        let sources = config.sources.keys();
        nodes.extend(sources.map(|name| NodeRef::new(Kind::Source, name)));
        let locks = network_locks(&engine.world)?;
        networks.extend(locks.into_iter().map(|lock| lock.name));
    }
    for name in names {
        nodes.extend(named(engine, name)?);
    }
    let pipeline = engine.pipeline();
    let mut survey = Survey::default();
    for node in &nodes {
        match node.kind {
            Kind::Base => pipeline.survey_base(&node.name, &mut survey).await?,
            Kind::Source => pipeline.survey_source(&node.name, &mut survey)?,
            _ if is_recorded(config, node)? => {
                let lock = pipeline.lock_of(node)?;
                networks.extend(lock.map(|lock| lock.name.clone()));
            }
            _ => return Err(CliError::usage(format!("{node} has no lock"))),
        }
    }
    let networks: Vec<String> = networks.into_iter().collect();
    survey_networks(&engine.world, &networks, &mut survey).await?;
    Ok(survey)
}

/// A line each on standard output, under its lock; with --json an event each.
fn show(engine: &Engine, survey: &Survey) {
    let mut lock = "";
    for one in &survey.outdated {
        let Outdated {
            manager,
            name,
            locked,
            newest,
            ..
        } = one;
        if engine.global.json {
            crate::output::line(serde_json::json!({
                "event": "outdated",
                "lock": one.lock,
                "manager": manager,
                "name": name,
                "locked": locked,
                "newest": newest,
            }));
            continue;
        }
        if lock != one.lock {
            lock = &one.lock;
            crate::output::line(format!("lockfiles/{lock}.lock"));
        }
        let change = match (locked, newest) {
            (Some(locked), Some(newest)) => format!("{locked} -> {newest}"),
            (Some(locked), None) => format!("{locked} is gone"),
            (None, Some(newest)) => format!("{newest} is new"),
            (None, None) => continue,
        };
        crate::output::line(format!("  {manager:<5}  {name} {change}"));
    }
    for unknown in &survey.unknown {
        engine.say(&format!("not looked up: {unknown}"));
    }
    if survey.outdated.is_empty() {
        engine.say("nothing is newer than what is locked");
    }
}
