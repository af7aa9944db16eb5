//! One of the two builds, in a process of its own.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tbuild_digest::{ActionKey, BlobDigest};
use tbuild_kinds::{Built as Image, Nodes};
use tbuild_sandbox::Surroundings;

use super::Arguments;
use crate::engine::Engine;
use crate::error::CliError;

/// What could not be varied, found out before anything else ran.
static MISSING: OnceLock<Vec<String>> = OnceLock::new();

/// What a build came to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Built {
    /// The image's ID, if it is one.
    pub image: Option<BlobDigest>,
    /// The key of the node itself, if it has one.
    pub key: Option<ActionKey>,
    /// All nodes with a key, each after those that it takes.
    pub nodes: Vec<BuiltNode>,
    /// What the surroundings could not be given.
    pub missing: Vec<String>,
}

/// A node of the build.
#[derive(Debug, Serialize, Deserialize)]
pub struct BuiltNode {
    /// Its name.
    pub name: String,
    /// What it does.
    pub title: String,
    /// Where it is written.
    pub place: Option<String>,
    /// What it was recorded under.
    pub key: ActionKey,
}

/// Enters the surroundings that the first argument says, and goes on with the others, program name first.
pub fn main(mut arguments: Vec<std::ffi::OsString>) -> ExitCode {
    let given = arguments.drain(1..3).nth(1).unwrap_or_default();
    let given = given.to_string_lossy();
    let Ok(surroundings) = serde_json::from_str::<Surroundings>(&given) else {
        CliError::usage(format!("these are no surroundings: {given}")).show();
        return ExitCode::from(2);
    };
    // Nobody else has set it: nothing ran before.
    let _first = MISSING.set(surroundings.enter());
    crate::commands::run_with(arguments)
}

/// Builds, and writes what came of it.
pub async fn run(engine: &Engine, arguments: &Arguments, result: &Path) -> Result<u8, CliError> {
    let mut graph = Nodes::new();
    let target = arguments.select(engine, &mut graph)?.node;
    let graph = Arc::new(graph);
    let outcome = engine.realise(Arc::clone(&graph), &[target]).await?;
    let order = graph
        .closure(&[target])
        .map_err(|error| CliError::usage(error.to_string()))?;
    let nodes = order.into_iter().filter_map(|node| {
        let vertex = graph.get(node);
        Some(BuiltNode {
            name: vertex.name.clone(),
            title: vertex.payload.title(),
            place: vertex.payload.place(),
            key: outcome.manifests.get(&node)?.key(),
        })
    });
    let image = outcome.outputs.get(&target).and_then(Image::of);
    let image = image.map(|image| image.id(&engine.world)).transpose()?;
    let built = Built {
        image,
        key: outcome
            .manifests
            .get(&target)
            .map(tbuild_graph::KeyManifest::key),
        nodes: nodes.collect(),
        missing: MISSING.get().cloned().unwrap_or_default(),
    };
    let bytes = serde_json::to_vec(&built).map_err(|error| CliError::internal(&error))?;
    std::fs::write(result, bytes).map_err(|error| CliError::internal(&error))?;
    Ok(0)
}
