//! `tbuild plan [TARGET]`: what would happen, as text; and what `-n` and `--why` print.

use std::sync::Arc;

use tbuild_graph::NodeId;
use tbuild_kinds::Nodes;
use tbuild_realise::{Options, Outcome, Status, last, read_record};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to plan for
    targets: Vec<String>,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let global = Global {
        dry_run: true,
        ..global.clone()
    };
    let project = Project::load(&global)?;
    let wanted = if arguments.targets.is_empty() {
        project
            .config
            .project
            .default
            .iter()
            .map(|name| name.value.clone())
            .collect()
    } else {
        super::target::find(&project, &arguments.targets)?
    };
    let engine = Engine::new(&global, project)?;
    super::target::realise(&engine, &wanted).await.map(|_| 0)
}

/// The differences between what a node was last realised as and what it is now.
pub fn reasons(engine: &Engine, graph: &Nodes, outcome: &Outcome, node: NodeId) -> Vec<String> {
    let vertex = graph.get(node);
    let store = engine.world.store.as_ref();
    if let Some(reason) = outcome.reasons.get(&node) {
        return vec![reason.clone()];
    }
    let Some(now) = outcome.manifests.get(&node) else {
        return vec!["what it waits for has to run first".to_owned()];
    };
    let known = last(store, &vertex.name).ok().flatten();
    let Some(known) = known else {
        return vec!["it was never realised in this store".to_owned()];
    };
    // After a run the last key is today's: then the one before it is what it was.
    let then = if known.key == now.key() {
        known.previous
    } else {
        Some(known.key)
    };
    match then.and_then(|key| read_record(store, &key).ok().flatten()) {
        Some(record) => {
            let layers = super::why::layers_below(graph, outcome, node);
            super::why::describe(store, &record.manifest, now, &layers)
        }
        None => vec!["the record of its last realisation is no longer in the store".to_owned()],
    }
}

/// Prints a line a node that would run or ran, with the reason if asked.
pub fn print(engine: &Engine, graph: &Nodes, outcome: &Outcome) {
    let mut any = false;
    for (node, status) in &outcome.statuses {
        let word = match status {
            Status::WouldRun => "run",
            Status::MayRun => "may run",
            Status::Ran if engine.global.why => "ran",
            _ => continue,
        };
        any = true;
        let vertex = graph.get(*node);
        crate::output::line(format!(
            "{word:>7}  {}  {}",
            vertex.name,
            vertex.payload.title()
        ));
        if engine.global.why || *status == Status::WouldRun {
            for reason in reasons(engine, graph, outcome, *node).iter().take(5) {
                crate::output::line(format!("         because {reason}"));
            }
        }
    }
    if !any {
        crate::output::line("nothing to do");
    }
}

/// Looks at targets without running anything.
pub async fn look(
    engine: &Engine,
    graph: &Arc<Nodes>,
    targets: &[NodeId],
) -> Result<Outcome, CliError> {
    let options = Options {
        plan_only: true,
        ..engine.options()
    };
    let store = Arc::clone(&engine.world.store) as Arc<dyn tbuild_store::Store>;
    tbuild_realise::realise(
        Arc::clone(graph),
        targets,
        store,
        Arc::new(|_| {}),
        engine.cancel.clone(),
        options,
    )
    .await
    .map_err(|error| CliError::usage(error.to_string()))
}
