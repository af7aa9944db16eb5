//! Any Dockerfile, without a tbuild.toml: what `tbuild build` builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use tbuild_dockerfile::{Diagnostic, IgnoreRules, Platform};
use tbuild_graph::{NodeId, NodeKind};
use tbuild_realise::OpError;
use tbuild_store_local::Modes;

use crate::filter::Filter;
use crate::network::StepsLock;
use crate::recipe::{Names, Nodes, Recipe, Show, Wanted, defect, ignore_files, ignored};
use crate::source::Folder;
use crate::{StepNetwork, World, pipeline, platforms};

/// One build.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// The context folder.
    pub context: PathBuf,
    /// What the lock of its network is called after.
    pub lock: String,
    /// The Dockerfile.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
    /// `--target`.
    pub target: Option<String>,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// `--build-context NAME=PATH`.
    pub contexts: BTreeMap<String, PathBuf>,
    /// `--label`.
    pub labels: Vec<(String, String)>,
    /// `--platform`; this machine's if none.
    pub platforms: Vec<Platform>,
}

/// Adds the build's nodes; its image, or the list of its images, is called `image:build`.
pub fn add(
    world: &Arc<World>,
    graph: &mut Nodes,
    build: &Build,
    fallback: &mut pipeline::Pipeline<'_>,
    show: &Show,
) -> Result<NodeId, OpError> {
    let mut names = BuildNames {
        world,
        build,
        fallback,
    };
    let recipe = recipe(&names);
    let mut wanted = build.platforms.clone();
    if wanted.is_empty() {
        wanted.push(names.fallback.platform());
    }
    platforms::add(world, graph, &recipe, &wanted, &mut names, show)
}

/// Everything that can be said about the build's Dockerfile without building it: of its first platform.
pub fn check(
    world: &Arc<World>,
    build: &Build,
    fallback: &mut pipeline::Pipeline<'_>,
) -> Result<Vec<Diagnostic>, OpError> {
    let mut names = BuildNames {
        world,
        build,
        fallback,
    };
    recipe(&names).check(&mut Nodes::new(), &mut names)
}

fn recipe(names: &BuildNames<'_, '_>) -> Recipe {
    let build = names.build;
    let platform = build.platforms.first().cloned();
    Recipe {
        name: "build".to_owned(),
        lock: Arc::new(StepsLock {
            name: build.lock.clone(),
            nodes: Vec::new(),
            ports: Vec::new(),
        }),
        file: build.file.display().to_string(),
        text: build.text.clone(),
        target: build.target.clone(),
        args: build.args.clone(),
        wanted: if platform.is_some() {
            Wanted::Asked
        } else {
            Wanted::Implied
        },
        platform: platform.unwrap_or_else(|| names.fallback.platform()),
        labels: build.labels.clone(),
        network: StepNetwork::Host,
        allow_insecure: names.world.steps.insecure,
    }
}

struct BuildNames<'a, 'b> {
    world: &'a Arc<World>,
    build: &'a Build,
    fallback: &'a mut pipeline::Pipeline<'b>,
}

impl BuildNames<'_, '_> {
    fn folder(
        &self,
        graph: &mut Nodes,
        name: &str,
        path: &std::path::Path,
        ignore: Vec<PathBuf>,
    ) -> Result<NodeId, OpError> {
        let name = format!("source:{name}");
        if let Some(node) = graph.find(&name) {
            return Ok(node);
        }
        let folder = Folder {
            world: Arc::clone(self.world),
            path: path.to_owned(),
            ignore,
            filter: Filter::default(),
            // As every other builder of a Dockerfile has it.
            modes: Modes::Kept,
            what: name.clone(),
        };
        graph
            .add(NodeKind::Source, name, vec![], Box::new(folder))
            .map_err(|error| defect(&error))
    }
}

impl<'b> Names<'b> for BuildNames<'_, 'b> {
    fn context(&mut self, graph: &mut Nodes) -> Result<NodeId, OpError> {
        let ignore = ignore_files(&self.build.file, &self.build.context);
        self.folder(graph, "build context", &self.build.context, ignore)
    }

    fn contexts(&self) -> BTreeSet<String> {
        self.build.contexts.keys().cloned().collect()
    }

    fn named(
        &mut self,
        graph: &mut Nodes,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError> {
        match self.build.contexts.get(name) {
            Some(path) => self.folder(
                graph,
                &format!("build context {name}"),
                path,
                vec![path.join(".dockerignore")],
            ),
            None => self.fallback.base(graph, name, platform),
        }
    }

    fn ignored(&self) -> IgnoreRules {
        ignored(&ignore_files(&self.build.file, &self.build.context))
    }

    fn images(&mut self) -> &mut pipeline::Pipeline<'b> {
        self.fallback
    }
}
