//! A configuration turned into a graph of ops.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_config::{
    Base, Config, Kind, Network, NodeRef, Source, SourceOrigin, ToolOrigin, TreeInput, TreeRef,
};
use tbuild_dockerfile::Platform;
use tbuild_fetch::BaseSpec;
use tbuild_graph::{NodeId, NodeKind};
use tbuild_oci::{ImageConfig, Reference};
use tbuild_realise::OpError;
use tbuild_registry::RegistryClient;

use crate::World;
use crate::artifact::Artifact;
use crate::base::Packages;
use crate::filter::Filter;
use crate::recipe::{Nodes, Show, defect};
use crate::relocate::Reading;
use crate::source::{Folder, Part};
use crate::target::Target;

/// What stands in the name of a base's node between the base and a platform that is not this machine's.
const FOR: &str = " for ";

/// Turns names of a configuration into nodes, each once.
pub struct Pipeline<'a> {
    pub(crate) world: &'a Arc<World>,
    pub(crate) config: &'a Config,
    pub(crate) show: Show,
    pub(crate) registry: Option<String>,
    pub(crate) client: Arc<RegistryClient>,
    /// Nodes to resolve again although there is a lock: bases and sources.
    pub update: BTreeSet<String>,
    /// The folders and Dockerfiles that the nodes added so far read.
    pub reads: Vec<Reading>,
    /// Whether registries may be asked for what decides the graph: the configs of images to start from.
    pub ask: bool,
    /// Findings about Dockerfiles that keep nothing from being built, rendered.
    pub warnings: Vec<String>,
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
            reads: Vec::new(),
            ask: true,
            warnings: Vec::new(),
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
                let op = crate::git::Checkout {
                    world: Arc::clone(self.world),
                    name: name.to_owned(),
                    url: url.value.clone(),
                    rev: rev.value.clone(),
                    filter,
                    update: self.update.contains(&node),
                };
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

    /// Whether `FROM name` starts from packages, and from no registry.
    pub fn is_base(&self, name: &str) -> bool {
        self.config.bases.contains_key(name) || distribution(name).is_some()
    }

    /// The image that `FROM name` starts from for a platform: an image of the project, a base, or one of a
    /// registry.
    pub(crate) fn base(
        &mut self,
        graph: &mut Nodes,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError> {
        if self.config.images.contains_key(name) {
            return self.image_for(graph, name, platform);
        }
        let node = if *platform == self.platform() {
            format!("base:{name}")
        } else {
            format!("base:{name}{FOR}{platform}")
        };
        if let Some(node) = graph.find(&node) {
            return Ok(node);
        }
        let Some(base) = self
            .config
            .bases
            .get(name)
            .cloned()
            .or_else(|| distribution(name))
        else {
            return self.pulled(graph, node, name, platform);
        };
        let platform = base.platform.clone().unwrap_or_else(|| platform.clone());
        let variant = Some(platform.variant.as_str()).filter(|variant| !variant.is_empty());
        let architecture = BaseSpec::debian_architecture(&platform.architecture, variant)
            .ok_or_else(|| {
                OpError::usage(format!(
                    "base {name}: no distribution is made for {platform}"
                ))
            })?;
        let distribution = base.distribution.value.clone();
        let keyring = base.keyring.as_ref().map_or_else(
            || {
                PathBuf::from(format!(
                    "/usr/share/keyrings/{distribution}-archive-keyring.gpg"
                ))
            },
            |keyring| self.world.resolve(Path::new(&keyring.value)),
        );
        let op = Packages {
            world: Arc::clone(self.world),
            name: name.to_owned(),
            spec: BaseSpec {
                distribution,
                suite: base.suite.value.clone(),
                extra_suites: base.extra_suites.clone(),
                components: base.components.clone(),
                include: base.include.clone(),
                architecture: architecture.to_owned(),
            },
            architecture: platform.architecture.clone(),
            variant: variant.map(str::to_owned),
            node: node.clone(),
            keyring,
            update: self.update.contains(&node),
        };
        self.runs(&platform, format!("{node}: configuring its packages"));
        let config = op.config();
        let node = graph
            .add(NodeKind::Base, node, vec![], Box::new(op))
            .map_err(|error| defect(&error))?;
        self.configs.insert(node, config);
        Ok(node)
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
            network: artifact.network == Network::Host,
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

    /// An image of a registry.
    fn pulled(
        &mut self,
        graph: &mut Nodes,
        node: String,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError> {
        let reference: Reference = name
            .parse()
            .map_err(|error: tbuild_oci::ReferenceError| OpError::usage(error.to_string()))?;
        let op = crate::pull::Pull {
            world: Arc::clone(self.world),
            client: Arc::clone(&self.client),
            name: name.to_owned(),
            reference,
            platform: crate::index::described_as(platform),
            update: self.update.contains(&node),
        };
        // What keeps the question from being answered is the node's to tell, with all that belongs to it.
        let ask = self.ask;
        let found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(op.config(ask))
        });
        let node = graph
            .add(NodeKind::Base, node, vec![], Box::new(op))
            .map_err(|error| defect(&error))?;
        if let Ok(Some(config)) = found {
            self.configs.insert(node, config);
        }
        Ok(node)
    }

    fn tool(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let tool = self
            .config
            .tools
            .get(name)
            .ok_or_else(|| Self::missing("tool", name))?;
        match &tool.origin {
            ToolOrigin::Artifact { artifact, path, .. } => {
                let input = self.node(graph, &NodeRef::new(Kind::Artifact, &artifact.value))?;
                let op = crate::tool::Tool {
                    world: Arc::clone(self.world),
                    path: path.value.clone(),
                };
                graph
                    .add(
                        NodeKind::Tool,
                        format!("tool:{name}"),
                        vec![input],
                        Box::new(op),
                    )
                    .map_err(|error| defect(&error))
            }
            ToolOrigin::Image { image, path } => {
                let machine = self.platform();
                let input = self.image_for(graph, &image.value, &machine)?;
                let op = crate::tool::Tool {
                    world: Arc::clone(self.world),
                    path: path.value.clone(),
                };
                graph
                    .add(
                        NodeKind::Tool,
                        format!("tool:{name}"),
                        vec![input],
                        Box::new(op),
                    )
                    .map_err(|error| defect(&error))
            }
            ToolOrigin::Url {
                url,
                sha256,
                member,
            } => {
                let platform = self.platform().to_string();
                let digest = sha256.get(&platform).ok_or_else(|| {
                    OpError::usage(format!("tool {name} has no sha256 for {platform}")).hint(
                        "a hash is never invented: add the one that the tool's makers publish",
                    )
                })?;
                let version = tool
                    .version
                    .as_ref()
                    .map(|version| version.value.clone())
                    .unwrap_or_default();
                let (os, architecture) = platform.split_once('/').unwrap_or(("linux", "amd64"));
                let url = url
                    .value
                    .replace("{version}", &version)
                    .replace("{os}", os)
                    .replace("{arch}", architecture);
                let op = crate::tool::Download {
                    world: Arc::clone(self.world),
                    url,
                    sha256: digest.value.clone(),
                    member: member.as_ref().map(|member| member.value.clone()),
                };
                graph
                    .add(NodeKind::Tool, format!("tool:{name}"), vec![], Box::new(op))
                    .map_err(|error| defect(&error))
            }
        }
    }
}

fn input_name(from: &TreeRef) -> String {
    match from {
        TreeRef::Node(node) => node.to_string(),
        TreeRef::Path(path) => path.clone(),
    }
}

/// A base that needs no table: `debian:SUITE` and `ubuntu:SUITE`, main components, nothing besides.
fn distribution(name: &str) -> Option<Base> {
    let (distribution, suite) = name.split_once(':')?;
    let known = matches!(distribution, "debian" | "ubuntu")
        && suite.chars().all(|c| c.is_ascii_lowercase());
    let text = |value: &str| {
        tbuild_config::Spanned::new(value.to_owned(), tbuild_config::Place::file(0..0))
    };
    known.then(|| Base {
        place: tbuild_config::Place::file(0..0),
        distribution: text(distribution),
        suite: text(suite),
        components: vec!["main".to_owned()],
        include: Vec::new(),
        keyring: None,
        platform: None,
        extra_suites: Vec::new(),
    })
}
