//! `tbuild lock [NODE]`: what names resolve to, written into lockfiles/.

use std::collections::BTreeSet;
use std::sync::Arc;

use tbuild_config::{Config, Kind, Network, NodeRef};
use tbuild_kinds::{Gone, Nodes, Relock, StepSettings, StepsLock, network_locks};

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
    /// Record again the steps whose locked bytes nobody has any more, and no others
    #[arg(long, conflicts_with = "update")]
    update_missing: bool,
    /// Write nothing: ask origins whether they still have what is locked of steps' networks; exit code 4 if not
    #[arg(long, conflicts_with_all = ["update", "update_missing"])]
    check: bool,
}

/// What of the locks of these nodes, of all if there are none, no origin has any more. If it `packs`, what this store
/// has is kept with the locks first, as far as it belongs there.
async fn gone(engine: &Engine, names: &[String], packs: bool) -> Result<Vec<Gone>, CliError> {
    if engine.world.offline {
        return Err(CliError::usage("--offline: origins are to be asked"));
    }
    let pipeline = engine.pipeline();
    let mut locks = Vec::new();
    for name in names {
        for node in super::target::find(&engine.project, std::slice::from_ref(name))? {
            is_recorded(&engine.project.config, &node)?;
            locks.extend(pipeline.lock_of(&node)?.map(|lock| StepsLock::clone(&lock)));
        }
    }
    if names.is_empty() {
        locks = network_locks(&engine.world)?;
    }
    if packs {
        tbuild_kinds::pack_again(&engine.world, &locks)?
            .iter()
            .for_each(|told| crate::report::eprint(&format!("{told}\n")));
    }
    Ok(tbuild_kinds::gone(&engine.world, &locks).await?)
}

/// The images and artifacts whose locks these are.
fn nodes_of(engine: &Engine, gone: &[Gone]) -> Result<Vec<String>, CliError> {
    let config = &engine.project.config;
    let images = config.images.keys().map(|name| (Kind::Image, name));
    let artifacts = config.artifacts.keys().map(|name| (Kind::Artifact, name));
    let pipeline = engine.pipeline();
    let mut nodes = Vec::new();
    for (kind, name) in images.chain(artifacts) {
        let node = NodeRef::new(kind, name);
        let Some(lock) = pipeline.lock_of(&node)? else {
            continue;
        };
        let is_of = gone.iter().any(|one| one.lock == lock.name);
        if is_of && is_recorded(config, &node).is_ok() {
            nodes.push(node.to_string());
        }
    }
    Ok(nodes)
}

/// Shows what is gone.
fn show_gone(gone: &[Gone]) {
    for one in gone {
        let stored = if one.is_stored {
            " (this store has it still)"
        } else {
            ""
        };
        crate::report::eprint(&format!(
            "gone: {} of lockfiles' {}{stored}\n",
            one.request, one.lock
        ));
    }
}

async fn check(engine: &Engine, names: &[String]) -> Result<u8, CliError> {
    let gone = gone(engine, names, false).await?;
    show_gone(&gone);
    if gone.is_empty() {
        crate::report::eprint("all that is locked of steps' networks is to be had\n");
        return Ok(0);
    }
    crate::report::eprint(
        "hint: `tbuild lock --update-missing` records again the steps that asked for it\n",
    );
    Ok(4)
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

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    if arguments.check {
        let engine = Engine::with_steps(global, project, StepSettings::default())?;
        return check(&engine, &arguments.nodes).await;
    }
    let mut names = arguments.nodes.clone();
    let mut steps = StepSettings {
        reduce: true,
        ..StepSettings::default()
    };
    if arguments.update {
        let found = arguments.nodes.iter();
        let found = found.filter_map(|name| project.config.find(name).ok());
        steps.relock = Relock::Of(found.map(|node| node.to_string()).collect());
    }
    if arguments.update_missing {
        let engine = Engine::with_steps(global, Project::load(global)?, StepSettings::default())?;
        let gone = gone(&engine, &arguments.nodes, true).await?;
        show_gone(&gone);
        if gone.is_empty() {
            crate::report::eprint("nothing is missing\n");
            return Ok(0);
        }
        let steps_of = |gone: &Gone| {
            let lock = gone.lock.clone();
            let steps = gone.steps.clone().into_iter();
            steps
                .map(move |step| (lock.clone(), step))
                .collect::<Vec<_>>()
        };
        steps.relock = Relock::Steps(gone.iter().flat_map(steps_of).collect());
        if names.is_empty() {
            names = nodes_of(&engine, &gone)?;
        }
        if names.is_empty() {
            let what = "no image or artifact has these locks";
            return Err(CliError::usage(what).hint("another --profile may have them"));
        }
    }
    let engine = Engine::with_steps(global, project, steps)?;
    let config = &engine.project.config;
    let mut wanted: Vec<NodeRef> = Vec::new();
    if names.is_empty() {
        let mut bases = bases_of_images(&engine)?;
        bases.extend(config.bases.keys().cloned());
        wanted.extend(bases.iter().map(|name| NodeRef::new(Kind::Base, name)));
        let sources = config.sources.keys();
        wanted.extend(sources.map(|name| NodeRef::new(Kind::Source, name)));
    }
    for name in &names {
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
