//! Images of tbuild.toml in the graph.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_config::{Image, Kind, NodeRef};
use tbuild_dockerfile::{IgnoreRules, Platform};
use tbuild_graph::NodeId;
use tbuild_realise::OpError;

use crate::filter::Filter;
use crate::network::StepsLock;
use crate::pipeline::Pipeline;
use crate::recipe::{Names, Nodes, Recipe, Wanted, ignore_files, ignored};
use crate::relocate::Reading;
use crate::settings::step_network;
use crate::{StepNetwork, platforms};

impl<'a> Pipeline<'a> {
    /// An image, or the list of its images.
    pub(crate) fn image(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let image = self.configured(name)?;
        if image.platforms.is_empty() {
            let machine = self.platform();
            return self.recipe(graph, name, &[machine], Wanted::Implied);
        }
        self.recipe(graph, name, &image.platforms, Wanted::Asked)
    }

    /// An image as what is for `platform` takes it: the one of its platforms that fits. One without platforms
    /// of its own is made for whatever it is wanted for.
    pub(crate) fn image_for(
        &mut self,
        graph: &mut Nodes,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError> {
        let image = self.configured(name)?;
        if image.platforms.is_empty() && *platform != self.platform() {
            let node = format!("image:{}", platforms::name_for(name, platform));
            return match graph.find(&node) {
                Some(node) => Ok(node),
                None => self.recipe(graph, name, std::slice::from_ref(platform), Wanted::OneOf),
            };
        }
        let whole = self.node(graph, &NodeRef::new(Kind::Image, name))?;
        if platforms::sorted(&image.platforms).len() < 2 {
            return Ok(whole);
        }
        let node = format!("image:{}", platforms::name_for(name, platform));
        graph.find(&node).ok_or_else(|| {
            let all: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
            OpError::usage(format!("image {name} is not built for {platform}"))
                .hint(format!("[image.{name}] platforms: {}", all.join(", ")))
        })
    }

    pub(crate) fn configured(&self, name: &str) -> Result<&'a Image, OpError> {
        self.config
            .images
            .get(name)
            .ok_or_else(|| Self::missing("image", name))
    }

    /// The lock of an image's steps. Images of one Dockerfile have one lock: they may have stages in common.
    fn steps_lock(&self, name: &str, file: &str) -> Arc<StepsLock> {
        let images = self.config.images.iter();
        let alike = images.filter(|(_, image)| {
            let of = image.dockerfile.as_ref();
            of.is_some_and(|of| of.value == file)
        });
        let nodes: BTreeSet<String> = alike.map(|(name, _)| format!("image:{name}")).collect();
        let own = format!("image:{name}");
        let folder = file.rsplit_once('/').map_or(file, |(folder, _)| folder);
        let given = self
            .config
            .images
            .get(name)
            .and_then(|image| image.lock.as_ref());
        let lock = match given {
            Some(lock) => &lock.value,
            None if nodes.len() < 2 => name,
            None => folder.strip_prefix("images/").unwrap_or(folder),
        };
        let others = nodes.into_iter().filter(|node| *node != own);
        let image = self.config.images.get(name);
        Arc::new(StepsLock {
            name: lock.to_owned(),
            ports: image.map(|image| image.ports.clone()).unwrap_or_default(),
            nodes: std::iter::once(own.clone()).chain(others).collect(),
        })
    }

    /// The lock of what the steps of a node ask of the network; none where it has no steps of its own.
    pub fn lock_of(&self, node: &NodeRef) -> Result<Option<Arc<StepsLock>>, OpError> {
        Ok(match node.kind {
            Kind::Image => {
                let image = self.configured(&node.name)?;
                let files = image.dockerfiles(&node.name);
                let is_there = |file: &&String| self.world.resolve(Path::new(file)).exists();
                let file = files.iter().find(is_there).or(files.last());
                file.map(|file| self.steps_lock(&node.name, file))
            }
            Kind::Artifact => Some(Arc::new(StepsLock {
                name: node.to_string(),
                nodes: vec![node.to_string()],
                ports: Vec::new(),
            })),
            _ => None,
        })
    }

    /// The nodes of an image of tbuild.toml for platforms.
    fn recipe(
        &mut self,
        graph: &mut Nodes,
        name: &str,
        all: &[Platform],
        wanted: Wanted,
    ) -> Result<NodeId, OpError> {
        let image = self.configured(name)?;
        let file = image
            .dockerfiles(name)
            .into_iter()
            .find(|file| self.world.resolve(Path::new(file)).exists())
            .ok_or_else(|| {
                OpError::usage(format!(
                    "image {name} has no Dockerfile: {} is not there",
                    image.dockerfiles(name).join(" or ")
                ))
            })?;
        let path = self.world.resolve(Path::new(&file));
        let text = crate::small::dockerfile(&path, true)
            .map_err(|error| OpError::usage(format!("cannot read {}: {error}", path.display())))?;
        self.reads.push(Reading::file(&path));
        let is_template = Path::new(&file).extension().is_some_and(|end| end == "hbs");
        let text = if is_template {
            render(&file, &text, &image.values)?
        } else {
            text
        };
        let recipe = Recipe {
            name: name.to_owned(),
            lock: self.steps_lock(name, &file),
            file,
            text,
            target: image.target.as_ref().map(|target| target.value.clone()),
            args: image
                .args
                .iter()
                .map(|(name, value)| (name.clone(), value.value.clone()))
                .collect(),
            platform: all.first().cloned().unwrap_or_default(),
            wanted,
            labels: Vec::new(),
            network: image
                .network
                .or(self.config.project.network)
                .map_or(StepNetwork::Host, step_network),
            allow_insecure: self.world.steps.insecure,
        };
        let (world, show) = (self.world, Arc::clone(&self.show));
        let mut names = ImageNames {
            pipeline: self,
            name,
            image,
            dockerfile: path,
        };
        platforms::add(world, graph, &recipe, all, &mut names, &show)
    }
}

/// Dockerfile.hbs: strict, so that a value that is not there is an error; nothing is escaped.
fn render(file: &str, text: &str, values: &tbuild_config::JsonMap) -> Result<String, OpError> {
    let mut handlebars = handlebars::Handlebars::new();
    handlebars.set_strict_mode(true);
    handlebars.register_escape_fn(handlebars::no_escape);
    handlebars.render_template(text, values).map_err(|error| {
        OpError::usage(format!("{file}: {error}"))
            .hint("values come from [image.NAME.values] of tbuild.toml")
    })
}

/// What names in the Dockerfile of an image of tbuild.toml mean.
struct ImageNames<'p, 'a, 'i> {
    pipeline: &'p mut Pipeline<'a>,
    name: &'i str,
    image: &'i Image,
    dockerfile: PathBuf,
}

impl<'a> Names<'a> for ImageNames<'_, 'a, '_> {
    fn context(&mut self, graph: &mut Nodes) -> Result<NodeId, OpError> {
        let of = format!("image:{}", self.name);
        if let Some(context) = &self.image.context {
            self.pipeline.tree_ref(graph, &of, &context.value)
        } else {
            let folder = self
                .dockerfile
                .parent()
                .unwrap_or(Path::new("."))
                .to_owned();
            let ignore = ignore_files(&self.dockerfile, &folder);
            let shown = folder
                .strip_prefix(&self.pipeline.world.project)
                .unwrap_or(&folder)
                .display()
                .to_string();
            self.pipeline.folder(
                graph,
                format!("source:{shown}"),
                folder,
                Filter::default(),
                ignore,
            )
        }
    }

    fn contexts(&self) -> BTreeSet<String> {
        self.image.contexts.keys().cloned().collect()
    }

    fn named(
        &mut self,
        graph: &mut Nodes,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError> {
        match self.image.contexts.get(name) {
            Some(input) => self
                .pipeline
                .tree(graph, &format!("image:{}/{name}", self.name), input),
            None => self.pipeline.base(graph, name, platform),
        }
    }

    fn ignored(&self) -> IgnoreRules {
        match (&self.image.context, self.dockerfile.parent()) {
            (None, Some(folder)) => ignored(&ignore_files(&self.dockerfile, folder)),
            _ => IgnoreRules::default(),
        }
    }

    fn images(&mut self) -> &mut Pipeline<'a> {
        self.pipeline
    }
}
