//! `tbuild lock --check`: whether what is locked is to be had, and with `--age` for how long.

use tbuild_config::{Kind, NodeRef};
use tbuild_kinds::{Ahead, BaseFile, Drift, Looked, StepsLock, base_files, network_locks};
use tbuild_lock::Kind as Lock;

use super::is_recorded;
use crate::engine::Engine;
use crate::error::CliError;
use crate::report::eprint;

/// Which locks are looked at.
pub(super) struct Chosen {
    pub networks: Vec<StepsLock>,
    bases: Vec<BaseFile>,
}

impl Chosen {
    /// The locks of these nodes; all that there are if there are none.
    pub(super) fn of(engine: &Engine, names: &[String]) -> Result<Self, CliError> {
        let files = base_files(&engine.world)?;
        if names.is_empty() {
            return Ok(Self {
                networks: network_locks(&engine.world)?,
                bases: files,
            });
        }
        let pipeline = engine.pipeline();
        let mut chosen = Self {
            networks: Vec::new(),
            bases: Vec::new(),
        };
        for name in names {
            for node in super::named(engine, name)? {
                if node.kind == Kind::Base {
                    let file = pipeline.base_lock(&node.name);
                    chosen
                        .bases
                        .extend(files.iter().find(|base| base.path == file).cloned());
                } else if is_recorded(&engine.project.config, &node)? {
                    let lock = pipeline.lock_of(&node)?;
                    chosen
                        .networks
                        .extend(lock.map(|lock| StepsLock::clone(&lock)));
                }
            }
        }
        Ok(chosen)
    }

    /// Asks origins.
    pub(super) async fn look(
        &self,
        engine: &Engine,
        ahead: Option<Ahead>,
    ) -> Result<Looked, CliError> {
        if engine.world.offline {
            return Err(CliError::usage("--offline: origins are to be asked"));
        }
        let mut looked = tbuild_kinds::drift(&engine.world, &self.networks, ahead).await?;
        looked.bases(&engine.world, &self.bases, ahead).await?;
        Ok(looked)
    }
}

/// Shows what is not as it should be: a line each, or with --json an event on standard output.
pub(super) fn show(engine: &Engine, drift: &[Drift]) {
    for one in drift {
        if engine.global.json {
            crate::output::line(serde_json::json!({
                "event": "drift",
                "kind": one.kind,
                "lock": one.lock,
                "request": one.request,
                "steps": one.steps,
                "wrong": one.wrong.word(),
                "message": one.wrong.to_string(),
                "stored": one.is_stored,
            }));
            continue;
        }
        let stored = if one.is_stored && one.wrong.is_missing() {
            " (this store has it still)"
        } else {
            ""
        };
        eprint(&format!(
            "{}: {} of lockfiles' {}{stored}: {}\n",
            one.wrong.word(),
            one.request,
            one.lock,
            one.wrong
        ));
    }
}

/// Runs it: writes nothing.
pub(super) async fn run(
    engine: &Engine,
    names: &[String],
    age: Option<u64>,
) -> Result<u8, CliError> {
    let chosen = Chosen::of(engine, names)?;
    let looked = chosen.look(engine, age.map(Ahead::days)).await?;
    show(engine, &looked.drift);
    let locks = chosen.networks.iter().map(|lock| lock.name.clone());
    super::stale::show(engine, &locks.collect())?;
    for (origin, count) in &looked.unknown {
        engine.say(&format!(
            "not looked for: {count} files of {origin}, which nothing on this machine says who serves"
        ));
    }
    for lock in &looked.undated {
        engine.say(&format!(
            "lockfiles' {lock} does not say of what day its steps are: recording them again does"
        ));
    }
    if looked.drift.is_empty() {
        engine.say("all that is locked is to be had");
        return Ok(0);
    }
    let is_missing = |drift: &Drift| drift.wrong.is_missing();
    let (missing, soon): (Vec<&Drift>, Vec<&Drift>) =
        looked.drift.iter().partition(|drift| is_missing(drift));
    if !missing.is_empty() {
        engine.say("hint: `tbuild lock --update-missing` resolves and records again what is missing, and nothing else");
    }
    if !soon.is_empty() {
        engine
            .say("hint: `tbuild lock --update NODE` brings a lock up to date before it has to be");
    }
    Ok(4)
}

/// The nodes whose locks these are: images and artifacts of tbuild.toml, and bases.
pub(super) fn nodes_of(engine: &Engine, drift: &[Drift]) -> Result<Vec<NodeRef>, CliError> {
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
        let is_of = |one: &Drift| one.kind == Lock::Network && one.lock == lock.name;
        if drift.iter().any(is_of) && is_recorded(config, &node).is_ok() {
            nodes.push(node);
        }
    }
    for name in super::all_bases(engine)? {
        let file = pipeline.base_lock(&name);
        let is_of = |one: &Drift| {
            one.kind == Lock::Base && file.file_stem().is_some_and(|stem| *stem == *one.lock)
        };
        if drift.iter().any(is_of) {
            nodes.push(NodeRef::new(Kind::Base, &name));
        }
    }
    Ok(nodes)
}
