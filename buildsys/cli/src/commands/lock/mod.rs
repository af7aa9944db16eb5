//! `tbuild lock [NODE]`: what names resolve to, written into lockfiles/.

mod check;
mod stale;

use std::collections::BTreeSet;
use std::sync::Arc;

use tbuild_config::{Config, Kind, Network, NodeRef};
use tbuild_kinds::{Nodes, Relock, StepSettings};

use self::check::Chosen;
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
    /// Resolve again the bases, and record again the steps, whose locked bytes nobody has any more, and no others
    #[arg(long, conflicts_with = "update")]
    update_missing: bool,
    /// Write nothing: ask origins whether they still have what is locked; exit code 4 if not
    #[arg(long, conflicts_with_all = ["update", "update_missing"])]
    check: bool,
    /// With --check: say as well what soon cannot be had, and what was locked more than DAYS ago and is another by now
    #[arg(long, value_name = "DAYS", requires = "check")]
    age: Option<u64>,
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

/// These and those that tbuild.toml has besides.
pub fn all_bases(engine: &Engine) -> Result<BTreeSet<String>, CliError> {
    let mut bases = bases_of_images(engine)?;
    bases.extend(engine.project.config.bases.keys().cloned());
    Ok(bases)
}

/// The nodes that a name means; a base may be one that a Dockerfile alone mentions.
pub fn named(engine: &Engine, name: &str) -> Result<Vec<NodeRef>, CliError> {
    super::target::find(&engine.project, std::slice::from_ref(&name.to_owned())).or_else(|error| {
        let base = name.strip_prefix("base:").unwrap_or(name);
        if bases_of_images(engine)?.contains(base) {
            Ok(vec![NodeRef::new(Kind::Base, base)])
        } else {
            Err(error)
        }
    })
}

/// Whether a node is locked by running it: its network is recorded.
pub fn is_recorded(config: &Config, node: &NodeRef) -> Result<bool, CliError> {
    let network = match node.kind {
        Kind::Image => config
            .images
            .get(&node.name)
            .and_then(|image| image.network.or(config.project.network)),
        Kind::Artifact => config.artifacts.get(&node.name).map(|made| made.network),
        _ => return Ok(false),
    };
    if network == Some(Network::Recorded) {
        return Ok(true);
    }
    let what = format!("there is nothing to lock of {node}: its network is not recorded");
    Err(CliError::usage(what).hint("tbuild.toml says so: network = \"record\""))
}

/// What is missing of these locks, and the nodes that it is of; what this store has of it is kept with the locks first,
/// as far as it belongs there.
async fn missing(engine: &Engine, names: &[String]) -> Result<(Relock, Vec<NodeRef>), CliError> {
    let chosen = Chosen::of(engine, names)?;
    tbuild_kinds::pack_again(&engine.world, &chosen.networks)?
        .iter()
        .for_each(|told| engine.say(told));
    let mut missing = chosen.look(engine, None).await?.drift;
    missing.retain(|drift| drift.wrong.is_missing());
    check::show(engine, &missing);
    let mut steps = BTreeSet::new();
    for drift in &missing {
        steps.extend(
            drift
                .steps
                .iter()
                .map(|step| (drift.lock.clone(), step.clone())),
        );
    }
    let nodes = check::nodes_of(engine, &missing)?;
    if nodes.is_empty() && !missing.is_empty() {
        let what = "no image, artifact or base has these locks";
        return Err(CliError::usage(what).hint("another --profile may have them"));
    }
    Ok((Relock::Steps(steps), nodes))
}

/// The names of the network locks of these nodes, or of all.
fn locks_of(engine: &Engine, nodes: &[NodeRef], all: bool) -> Result<BTreeSet<String>, CliError> {
    if all {
        let locks = tbuild_kinds::network_locks(&engine.world)?;
        return Ok(locks.into_iter().map(|lock| lock.name).collect());
    }
    let pipeline = engine.pipeline();
    let mut locks = BTreeSet::new();
    for node in nodes {
        locks.extend(pipeline.lock_of(node)?.map(|lock| lock.name.clone()));
    }
    Ok(locks)
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    if arguments.check {
        let engine = Engine::with_steps(global, project, StepSettings::default())?;
        return check::run(&engine, &arguments.nodes, arguments.age).await;
    }
    let mut steps = StepSettings {
        reduce: true,
        ..StepSettings::default()
    };
    if arguments.update {
        let found = arguments.nodes.iter();
        let found = found.filter_map(|name| project.config.find(name).ok());
        steps.relock = Relock::Of(found.map(|node| node.to_string()).collect());
    }
    let mut wanted: Vec<NodeRef> = Vec::new();
    if arguments.update_missing {
        let engine = Engine::with_steps(global, Project::load(global)?, StepSettings::default())?;
        (steps.relock, wanted) = missing(&engine, &arguments.nodes).await?;
        if wanted.is_empty() {
            engine.say("nothing is missing");
            return Ok(0);
        }
    }
    let engine = Engine::with_steps(global, project, steps)?;
    let config = &engine.project.config;
    if wanted.is_empty() && arguments.nodes.is_empty() {
        let bases = all_bases(&engine)?;
        wanted.extend(bases.iter().map(|name| NodeRef::new(Kind::Base, name)));
        let sources = config.sources.keys();
        wanted.extend(sources.map(|name| NodeRef::new(Kind::Source, name)));
    } else if wanted.is_empty() {
        for name in &arguments.nodes {
            wanted.extend(named(&engine, name)?);
        }
    }
    let mut graph = Nodes::new();
    let (mut targets, mut recorded) = (Vec::new(), Vec::new());
    let mut pipeline = engine.pipeline();
    if arguments.update || arguments.update_missing {
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
    if !arguments.update_missing && !global.dry_run {
        let locks = locks_of(&engine, &wanted, arguments.nodes.is_empty())?;
        stale::take_out(&engine, &locks)?;
    }
    engine.say(&match wanted.len() {
        1 => "1 name is locked in lockfiles/".to_owned(),
        many => format!("{many} names are locked in lockfiles/"),
    });
    Ok(0)
}
