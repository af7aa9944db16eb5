//! A configuration turned into a graph of ops.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_config::{Config, JsonMap, Kind, NodeRef, Source, SourceOrigin, TreeInput, TreeRef};
use tbuild_dockerfile::Platform;
use tbuild_graph::{NodeId, NodeKind};
use tbuild_oci::{ImageConfig, Reference};
use tbuild_realise::OpError;
use tbuild_registry::RegistryClient;
use tbuild_store_local::Modes;

use crate::World;
use crate::artifact::Artifact;
use crate::filter::Filter;
use crate::git::Checkout;
use crate::network::{Recorded, StepsLock};
use crate::pipeline_base::FOR;
use crate::recipe::{Nodes, Show, defect};
use crate::relocate::Reading;
use crate::settings::step_network;
use crate::source::{Folder, Part};
use crate::target::Target;

/// Turns names of a configuration into nodes, each once.
pub struct Pipeline<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) config: &'a Config,
    pub(crate) show: Show,
    pub(crate) registry: Option<String>,
    pub(crate) client: Arc<RegistryClient>,
    /// Nodes to resolve again although there is a lock: bases and sources.
    pub update: BTreeSet<String>,
    /// Values of tasks' parameters, by task: what the command line said.
    pub parameters: BTreeMap<String, JsonMap>,
    /// Tasks to run although they have succeeded.
    pub again: BTreeSet<String>,
    /// The folders and Dockerfiles that the nodes added so far read.
    pub reads: Vec<Reading>,
    /// Whether registries may be asked for what decides the graph: the configs of images to start from.
    pub ask: bool,
    /// Findings about Dockerfiles that keep nothing from being built, rendered.
    pub warnings: Vec<String>,
    /// The steps of locks, as they are noted: ids by the names of their locks. Only where they are asked for.
    pub(crate) steps: Option<BTreeMap<String, BTreeSet<String>>>,
    /// Platforms whose programs are run, and what runs them first.
    runs: BTreeMap<Platform, String>,
    /// Configs of bases and images, as far as they are known by now.
    configs: HashMap<NodeId, ImageConfig>,
}

impl<'a> Pipeline<'a> {
    /// A pipeline of `config`. `show` renders findings about Dockerfiles.
    pub fn new(world: &'a Arc<World>, config: &'a Config, show: Show) -> Self {
        let registry = config
            .project
            .registry
            .as_ref()
            .map(|registry| registry.value.clone());
        let client = Arc::new(RegistryClient::new(world.machine.registry.clone()));
        Self {
            world,
            config,
            show,
            registry,
            client,
            update: BTreeSet::new(),
            parameters: BTreeMap::new(),
            again: BTreeSet::new(),
            reads: Vec::new(),
            ask: true,
            warnings: Vec::new(),
            steps: None,
            runs: BTreeMap::new(),
            configs: HashMap::new(),
        }
    }

    /// The config of the base or image at `node`, if it is known.
    pub(crate) fn config_of(&self, node: NodeId) -> Option<ImageConfig> {
        self.configs.get(&node).cloned()
    }

    pub(crate) fn keep(&mut self, node: NodeId, config: ImageConfig) {
        self.configs.insert(node, config);
    }

    /// The node that `wanted` names, added with all that it needs.
    pub fn node(&mut self, graph: &mut Nodes, wanted: &NodeRef) -> Result<NodeId, OpError> {
        if let Some(node) = graph.find(&wanted.to_string()) {
            return Ok(node);
        }
        let name = wanted.name.as_str();
        match wanted.kind {
            Kind::Source => self.source(graph, name),
            Kind::Base => {
                let (name, platform) = name.split_once(FOR).unwrap_or((name, ""));
                let platform = Platform::parse(platform).unwrap_or_else(|| self.platform());
                self.base(graph, name, &platform)
            }
            Kind::Image => self.image(graph, name),
            Kind::Artifact => self.artifact(graph, name),
            Kind::Chart => self.chart(graph, name),
            Kind::Push => self.push(graph, name),
            Kind::Release => self.release(graph, name),
            Kind::Task => self.task(graph, name),
            Kind::Tool => self.tool(graph, name),
            Kind::Target => self.target(graph, name),
            Kind::Command => Err(OpError::usage(format!(
                "{wanted} is not something to realise"
            ))),
        }
    }

    pub(crate) fn missing(what: &str, name: &str) -> OpError {
        OpError::usage(format!("there is no {what} {name} in tbuild.toml"))
    }

    fn target(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let target = self
            .config
            .targets
            .get(name)
            .ok_or_else(|| Self::missing("target", name))?;
        let mut needs = Vec::new();
        for need in &target.needs {
            needs.push(self.node(graph, &need.value)?);
        }
        let node = graph
            .add(
                NodeKind::Target,
                format!("target:{name}"),
                Vec::new(),
                Box::new(Target),
            )
            .map_err(|error| defect(&error))?;
        for need in needs {
            graph.order(node, need);
        }
        Ok(node)
    }

    pub(crate) fn folder(
        &mut self,
        graph: &mut Nodes,
        name: String,
        path: PathBuf,
        filter: Filter,
        ignore: Vec<PathBuf>,
    ) -> Result<NodeId, OpError> {
        if let Some(node) = graph.find(&name) {
            return Ok(node);
        }
        self.reads.push(Reading::folder(&path, &ignore, &filter));
        let folder = Folder {
            world: Arc::clone(self.world),
            path,
            ignore,
            filter,
            // A pipeline's folders are part of a repository: whoever clones it has another umask.
            modes: Modes::Git,
            what: name.clone(),
        };
        graph
            .add(NodeKind::Source, name, vec![], Box::new(folder))
            .map_err(|error| defect(&error))
    }

    fn source(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let source: &Source = self
            .config
            .sources
            .get(name)
            .ok_or_else(|| Self::missing("source", name))?;
        let values = |list: &[tbuild_config::Spanned<String>]| {
            list.iter().map(|one| one.value.clone()).collect()
        };
        let filter = Filter {
            include: values(&source.include),
            exclude: values(&source.exclude),
        };
        let node = format!("source:{name}");
        match &source.origin {
            SourceOrigin::Path(path) => {
                let path = self.world.resolve(Path::new(&path.value));
                self.folder(graph, node, path, filter, Vec::new())
            }
            SourceOrigin::Git { url, rev } => {
                let op = self.checkout(name, (&url.value, &rev.value), filter);
                graph
                    .add(NodeKind::Source, node, vec![], Box::new(op))
                    .map_err(|error| defect(&error))
            }
            SourceOrigin::Url { .. } => Err(OpError::usage(format!(
                "source {name}: url sources are not supported yet"
            ))
            .hint("use a folder or a git revision")),
        }
    }

    /// A git source: its URL and its revision.
    pub(crate) fn checkout(
        &self,
        name: &str,
        (url, rev): (&str, &str),
        filter: Filter,
    ) -> Checkout {
        Checkout {
            world: Arc::clone(self.world),
            name: name.to_owned(),
            url: url.to_owned(),
            rev: rev.to_owned(),
            filter,
            update: self.update.contains(&format!("source:{name}")),
        }
    }

    /// This machine's platform.
    pub(crate) fn platform(&self) -> Platform {
        self.world.machine_platform()
    }

    /// Notes that something at `place` runs programs of `platform`.
    pub(crate) fn runs(&mut self, platform: &Platform, place: String) {
        self.runs.entry(platform.clone()).or_insert(place);
    }

    /// Keeps findings, each once.
    pub(crate) fn warn(&mut self, warnings: Vec<String>) {
        for warning in warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }

    /// Refuses what needs programs of a platform that this machine cannot run, before anything has run.
    pub fn can_run(&self) -> Result<(), OpError> {
        self.runs
            .iter()
            .try_for_each(|(platform, place)| self.world.can_run(platform, place))
    }

    fn artifact(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let config = self.config;
        let artifact = config
            .artifacts
            .get(name)
            .ok_or_else(|| Self::missing("artifact", name))?;
        let machine = self.platform();
        let mut inputs = vec![self.image_for(graph, &artifact.image.value, &machine)?];
        if let [platform] = self.configured(&artifact.image.value)?.platforms.as_slice() {
            self.runs(platform, format!("artifact:{name}"));
        }
        for (input, tree) in &artifact.inputs {
            inputs.push(self.tree(graph, &format!("artifact:{name}/{input}"), tree)?);
        }
        let recorded = Recorded::new(
            &Arc::new(StepsLock {
                name: format!("artifact:{name}"),
                nodes: vec![format!("artifact:{name}")],
                ports: Vec::new(),
            }),
            "",
            &artifact.run.argv().join(" "),
            0,
        );
        self.note(&recorded);
        let op = Artifact {
            world: Arc::clone(self.world),
            inputs: artifact.inputs.keys().cloned().collect(),
            argv: artifact.run.argv(),
            env: artifact
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.value.clone()))
                .collect(),
            outputs: artifact
                .outputs
                .iter()
                .map(|output| output.value.clone())
                .collect(),
            network: step_network(artifact.network),
            recorded,
        };
        graph
            .add(
                NodeKind::Artifact,
                format!("artifact:{name}"),
                inputs,
                Box::new(op),
            )
            .map_err(|error| defect(&error))
    }

    /// A tree, or a part of one.
    pub(crate) fn tree(
        &mut self,
        graph: &mut Nodes,
        of: &str,
        input: &TreeInput,
    ) -> Result<NodeId, OpError> {
        let whole = self.tree_ref(graph, of, &input.from.value)?;
        let values = |list: &[tbuild_config::Spanned<String>]| {
            list.iter().map(|one| one.value.clone()).collect()
        };
        let filter = Filter {
            include: values(&input.include),
            exclude: values(&input.exclude),
        };
        if filter.is_all() {
            return Ok(whole);
        }
        let name = format!("source:part of {} for {of}", input_name(&input.from.value));
        match graph.find(&name) {
            Some(node) => Ok(node),
            None => graph
                .add(
                    NodeKind::Source,
                    name,
                    vec![whole],
                    Box::new(Part { filter }),
                )
                .map_err(|error| defect(&error)),
        }
    }

    pub(crate) fn tree_ref(
        &mut self,
        graph: &mut Nodes,
        of: &str,
        from: &TreeRef,
    ) -> Result<NodeId, OpError> {
        match from {
            TreeRef::Node(node) => self.node(graph, node),
            TreeRef::Path(path) => {
                let folder = self.world.resolve(Path::new(path));
                let ignore = vec![folder.join(".dockerignore")];
                self.folder(
                    graph,
                    format!("source:{path} for {of}"),
                    folder,
                    Filter::default(),
                    ignore,
                )
            }
        }
    }

    fn chart(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let chart = self
            .config
            .charts
            .get(name)
            .ok_or_else(|| Self::missing("chart", name))?;
        let folder = self.world.resolve(Path::new(&chart.path.value));
        let source = self.folder(
            graph,
            format!("source:{}", chart.path.value),
            folder,
            Filter::default(),
            Vec::new(),
        )?;
        let op = crate::chart::Chart {
            world: Arc::clone(self.world),
            name: name.to_owned(),
        };
        graph
            .add(
                NodeKind::Chart,
                format!("chart:{name}"),
                vec![source],
                Box::new(op),
            )
            .map_err(|error| defect(&error))
    }

    /// The node that pushes an image.
    pub fn push(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let node = format!("push:{name}");
        if let Some(node) = graph.find(&node) {
            return Ok(node);
        }
        let config = self.config;
        let image = config
            .images
            .get(name)
            .ok_or_else(|| Self::missing("image", name))?;
        let registry = self.registry.clone().ok_or_else(|| {
            OpError::usage(format!("image {name} cannot be pushed: no registry is set"))
                .hint("set project.registry in tbuild.toml")
        })?;
        let input = self.node(graph, &NodeRef::new(Kind::Image, name))?;
        let op = crate::push::Push {
            world: Arc::clone(self.world),
            client: Arc::clone(&self.client),
            registry,
            repository: image.repository.clone(),
            tags: image.tags.clone(),
        };
        graph
            .add(NodeKind::Push, node, vec![input], Box::new(op))
            .map_err(|error| defect(&error))
    }

    /// A node that pushes an image to the registry of `reference`.
    pub fn push_as(
        &mut self,
        graph: &mut Nodes,
        image: NodeId,
        name: &str,
        reference: &str,
    ) -> Result<NodeId, OpError> {
        let reference: Reference = reference
            .parse()
            .map_err(|error: tbuild_oci::ReferenceError| OpError::usage(error.to_string()))?;
        let op = crate::push::Push {
            world: Arc::clone(self.world),
            client: Arc::clone(&self.client),
            registry: reference.registry,
            repository: reference.repository,
            tags: vec![reference.tag.unwrap_or_else(|| "latest".to_owned())],
        };
        graph
            .add(
                NodeKind::Push,
                format!("push:{name}"),
                vec![image],
                Box::new(op),
            )
            .map_err(|error| defect(&error))
    }

    /// To be called once all wanted nodes are added: refuses what waits for itself.
    pub fn finish(&self, graph: &mut Nodes) -> Result<(), OpError> {
        let all: Vec<NodeId> = graph.iter().map(|(node, _)| node).collect();
        graph
            .closure(&all)
            .map(drop)
            .map_err(|error| defect(&error))
    }
}

pub(crate) fn input_name(from: &TreeRef) -> String {
    match from {
        TreeRef::Node(node) => node.to_string(),
        TreeRef::Path(path) => path.clone(),
    }
}
