//! `tbuild graph`: the nodes and what they wait for.

use std::sync::Arc;

use serde_json::json;
use tbuild_kinds::Nodes;

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::output::line;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to show [default: the project's default]
    targets: Vec<String>,
    /// How
    #[arg(long, value_parser = ["dot", "mermaid", "json"], default_value = "dot")]
    format: String,
}

/// Runs it.
pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
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
    let engine = Engine::new(global, project)?;
    let mut graph = Nodes::new();
    let mut targets = Vec::new();
    let mut pipeline = engine.pipeline();
    pipeline.ask = false;
    for name in &wanted {
        targets.push(pipeline.node(&mut graph, name)?);
    }
    drop(pipeline);
    let graph = Arc::new(graph);
    let order = graph
        .closure(&targets)
        .map_err(|error| CliError::usage(error.to_string()))?;
    match arguments.format.as_str() {
        "json" => {
            let nodes: Vec<_> = order
                .iter()
                .map(|node| {
                    let vertex = graph.get(*node);
                    let before: Vec<&str> = graph.waits_for(*node).map(|input| graph.get(input).name.as_str()).collect();
                    json!({"name": vertex.name, "kind": vertex.kind, "title": vertex.payload.title(), "waits_for": before})
                })
                .collect();
            crate::output::json(&nodes);
        }
        format => {
            let (head, arrow, end) = if format == "dot" {
                ("digraph tbuild {", "->", "}")
            } else {
                ("graph TD", "-->", "")
            };
            line(head);
            for node in &order {
                let title = graph.get(*node).name.replace('"', "'");
                if format == "dot" {
                    line(format!("  n{} [label=\"{title}\"];", node.index()));
                } else {
                    line(format!("  n{}[\"{title}\"]", node.index()));
                }
                for input in graph.waits_for(*node) {
                    line(format!("  n{} {arrow} n{}", input.index(), node.index()));
                }
            }
            line(end);
        }
    }
    Ok(0)
}
