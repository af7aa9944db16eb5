//! `tbuild verify NAME`: builds it twice, each time in other surroundings, and compares.
//!
//! Each build is a process of its own over a store of its own that begins empty but for downloads, so that
//! nothing that the one made reaches the other. See [`vary`] for what differs between them.

mod once;
mod report;
mod stores;
mod vary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tbuild_config::{Kind, NodeRef};
use tbuild_graph::NodeId;
use tbuild_kinds::adhoc::{self, Build};
use tbuild_kinds::{Nodes, Reading};

pub use once::main;
pub use vary::VARY;

use crate::args::{Global, Runner};
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// What a check of reproducibility that fails ends with.
const NOT_REPRODUCIBLE: u8 = 4;
/// Between the end of the first build and the start of the second: file systems that count in two seconds see it.
const APART: Duration = Duration::from_millis(2100);

/// Arguments.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
The second build has another host name, umask, locale, time zone, user name, uptime, number of processors and of jobs, \
and another path, owner, creation order and, where disorderfs is installed, reading order of all files that it reads. \
Bases and downloads are those of this store, unless --bases or a base is asked for.

Exit code: 0 both gave the same, 4 they did not, else as for a build.")]
pub struct Arguments {
    /// An image, artifact, base or chart
    #[arg(required_unless_present = "build", conflicts_with = "build")]
    name: Option<String>,
    /// Verify the build of any Dockerfile: its context
    #[arg(long, value_name = "CONTEXT")]
    build: Option<PathBuf>,
    /// The Dockerfile [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE", requires = "build")]
    file: Option<PathBuf>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE", requires = "build")]
    target: Option<String>,
    /// A value for an ARG
    #[arg(long, value_name = "NAME=VALUE", requires = "build")]
    build_arg: Vec<String>,
    /// Build the bases from their packages, too
    #[arg(long)]
    bases: bool,
    /// Keep both stores in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// How many files of a layer are shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    files: usize,
    /// Build once, and write what came of it to this file
    #[arg(long, value_name = "FILE", hide = true)]
    once: Option<PathBuf>,
}

impl Arguments {
    /// The node to verify, with all that it needs.
    fn select(&self, engine: &Engine, graph: &mut Nodes) -> Result<Selected, CliError> {
        let mut pipeline = engine.pipeline();
        let node = match (&self.build, &self.name) {
            (Some(_), _) => {
                let build = self.adhoc(engine)?;
                pipeline
                    .reads
                    .push(Reading::context(&build.context, &build.file));
                pipeline.reads.push(Reading::file(&build.file));
                adhoc::add(&engine.world, graph, &build, &mut pipeline, &engine.show())?
            }
            (None, Some(name)) => {
                let wanted = named(engine, name, pipeline.is_base(name))?;
                pipeline.node(graph, &wanted)?
            }
            (None, None) => return Err(CliError::usage("nothing to verify is named")),
        };
        pipeline.finish(graph)?;
        pipeline.can_run()?;
        Ok(Selected {
            node,
            reads: pipeline.reads,
        })
    }

    fn adhoc(&self, engine: &Engine) -> Result<Build, CliError> {
        let start = std::path::absolute(engine.global.directory.clone().unwrap_or_default())
            .or_else(|_| std::env::current_dir())
            .map_err(|error| CliError::internal(&error))?;
        let context = start.join(self.build.clone().unwrap_or_default());
        if !context.is_dir() {
            let context = context.display();
            return Err(CliError::usage(format!(
                "the build context {context} is no folder"
            )));
        }
        let file = self
            .file
            .as_ref()
            .map_or_else(|| context.join("Dockerfile"), |file| start.join(file));
        let text = tbuild_kinds::dockerfile(&file, self.file.is_some())
            .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
        let arg = |text: &String| match text.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(CliError::usage(format!(
                "--build-arg {text}: NAME=VALUE is expected"
            ))),
        };
        Ok(Build {
            context,
            file,
            text,
            target: self.target.clone(),
            args: self.build_arg.iter().map(arg).collect::<Result<_, _>>()?,
            ..Build::default()
        })
    }
}

/// What is verified, and what building it reads.
struct Selected {
    node: NodeId,
    reads: Vec<Reading>,
}

fn named(engine: &Engine, name: &str, is_base: bool) -> Result<NodeRef, CliError> {
    let node = match super::target::find(&engine.project, &[name.to_owned()]) {
        Ok(mut nodes) => nodes.pop(),
        Err(_) if is_base => Some(NodeRef::new(Kind::Base, name)),
        Err(error) => return Err(error),
    };
    node.filter(|node| {
        matches!(
            node.kind,
            Kind::Image | Kind::Artifact | Kind::Base | Kind::Chart
        )
    })
    .ok_or_else(|| {
        CliError::usage(format!("{name} cannot be verified"))
            .hint("images, artifacts, bases and charts can")
    })
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    if global.executor == Runner::Docker {
        let what = "--executor docker: a container has the engine's processors and uptime, which verify varies";
        return Err(CliError::usage(what).hint("verify with --executor sandbox or crun"));
    }
    let engine = Engine::new(&global.for_document(), Project::load_or_empty(global)?)?;
    if let Some(result) = &arguments.once {
        return once::run(&engine, arguments, result).await;
    }
    let mut graph = Nodes::new();
    let selected = arguments.select(&engine, &mut graph)?;
    let graph = Arc::new(graph);
    let name = graph.get(selected.node).name.clone();
    let stores = stores::prepare(&engine, arguments, &graph, selected.node).await?;
    let plan = vary::Plan::new(&engine, arguments, &stores, &selected.reads)?;
    let mut builds = Vec::new();
    for (number, build) in plan.builds.iter().enumerate() {
        let ordinal = if number == 0 { "first" } else { "second" };
        if number > 0 {
            tokio::time::sleep(APART).await;
        }
        engine.say(&format!("{name}: {ordinal} build"));
        let begun = Instant::now();
        let result = build.run(&engine).await?;
        builds.push((result, begun.elapsed()));
    }
    let verdict = report::compare(&engine, &stores, &plan, name, builds, arguments.files).await?;
    if global.json {
        crate::output::json(&verdict);
    } else {
        crate::output::text(&verdict.render(arguments.files));
    }
    if let Some(folder) = &arguments.keep {
        engine.say(&format!("both stores are in {}", folder.display()));
    }
    Ok(if verdict.reproducible {
        0
    } else {
        NOT_REPRODUCIBLE
    })
}
