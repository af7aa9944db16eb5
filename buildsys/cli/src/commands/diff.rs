//! `tbuild diff A B`: where two images differ.

use std::path::Path;
use std::sync::Arc;

use tbuild_compare::{Options, Report, Style, compare, render};
use tbuild_config::{Kind, NodeRef};
use tbuild_digest::BlobDigest;
use tbuild_kinds::operand::{self, Operand};
use tbuild_kinds::{Nodes, World};

use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each is, the first that fits: a name of tbuild.toml (which is built if it is not), an image ID, an archive or a folder \
(OCI layout, docker save, tar, or plain files), a base such as debian:bookworm, or a reference that the store or a \
registry knows. ./NAME is always a file.

Exit code: 0 nothing differs, 1 something differs, 2 one of them cannot be had.")]
pub struct Arguments {
    /// The first: its values are marked -
    a: String,
    /// The second: its values are marked +
    b: String,
    /// How many files of a layer are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    files: usize,
}

/// How many contents of a layer are compared for JSON, where nobody reads them one by one.
const CONTENTS: usize = 1000;

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let engine = Engine::new(&global.for_document(), Project::load_or_empty(global)?)?;
    let a = find(&engine, &arguments.a).await?;
    let b = find(&engine, &arguments.b).await?;
    let contents = if global.json {
        CONTENTS
    } else {
        arguments.files
    };
    let report = compared(a, b, contents).await?;
    if global.json {
        crate::output::json(&report);
    } else {
        let style = Style {
            a: &arguments.a,
            b: &arguments.b,
            files: arguments.files,
        };
        crate::output::text(&render(&report, &style));
    }
    Ok(u8::from(!report.same))
}

/// Compares two operands, off the async threads.
pub async fn compared(a: Operand, b: Operand, contents: usize) -> Result<Report, CliError> {
    let work = move || compare(&a.as_image(), &b.as_image(), Options { contents });
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::internal(&error))?
        .map_err(|error| CliError::internal(&error))
}

/// Whatever goes wrong on the way to an operand is trouble: 1 would say that the images differ.
fn trouble(error: CliError) -> CliError {
    CliError {
        code: if error.code == 1 { 2 } else { error.code },
        ..error
    }
}

async fn find(engine: &Engine, name: &str) -> Result<Operand, CliError> {
    if let Ok(node) = engine.project.config.find(name)
        && matches!(
            node.kind,
            Kind::Image | Kind::Artifact | Kind::Chart | Kind::Base | Kind::Source
        )
    {
        return built(engine, &node).await.map_err(trouble);
    }
    if let Ok(id) = name.parse::<BlobDigest>() {
        let world = Arc::clone(&engine.world);
        let found = blocking(move || operand::from_id(&world, &id)).await?;
        return found.ok_or_else(|| {
            CliError::usage(format!("the store knows no image {name}"))
                .hint("an image ID is known where it was built, pushed from or pulled to")
        });
    }
    let start = engine.global.directory.clone().unwrap_or_default();
    let path = start.join(name);
    if path.exists() {
        let world = Arc::clone(&engine.world);
        return blocking(move || operand::from_path(&world, &path)).await;
    }
    if looks_like_a_path(name) {
        return Err(CliError::usage(format!("{name} is not there")));
    }
    if engine.pipeline().is_base(name) {
        let node = NodeRef::new(Kind::Base, name);
        return built(engine, &node).await.map_err(trouble);
    }
    operand::from_reference(&engine.world, name)
        .await
        .map_err(|error| trouble(error.into()))
}

fn looks_like_a_path(name: &str) -> bool {
    let ends = [".tar", ".tgz", ".gz", ".zst", "/"];
    name.starts_with(['.', '/'])
        || ends.iter().any(|end| name.ends_with(end))
        || Path::new(name).components().count() == 0
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, tbuild_realise::OpError> + Send + 'static,
) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| CliError::internal(&error))?
        .map_err(|error| trouble(error.into()))
}

/// A node's output, made if it is not there.
async fn built(engine: &Engine, wanted: &NodeRef) -> Result<Operand, CliError> {
    let mut graph = Nodes::new();
    let node = {
        let mut pipeline = engine.pipeline();
        let node = pipeline.node(&mut graph, wanted)?;
        pipeline.finish(&mut graph)?;
        pipeline.can_run()?;
        node
    };
    let outcome = engine.realise(Arc::new(graph), &[node]).await?;
    let output = outcome.outputs.get(&node).cloned();
    let world: Arc<World> = Arc::clone(&engine.world);
    let found = match output {
        Some(output) => blocking(move || Operand::from_output(&world, &output)).await?,
        None => None,
    };
    found.ok_or_else(|| CliError::usage(format!("{wanted} holds no files to compare")))
}
