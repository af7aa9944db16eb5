//! What images start from as nodes: other images, bases made from packages, images of registries.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tbuild_config::Base;
use tbuild_dockerfile::Platform;
use tbuild_fetch::BaseSpec;
use tbuild_graph::{NodeId, NodeKind};
use tbuild_oci::Reference;
use tbuild_realise::OpError;

use crate::base::{Packages, Versions};
use crate::pipeline::Pipeline;
use crate::pull::Pull;
use crate::recipe::{Nodes, defect};

/// What stands in the name of a base's node between the base and a platform that is not this machine's.
pub(crate) const FOR: &str = " for ";

/// What has changed of a base.
pub(crate) enum Changes {
    /// Of its packages; none if it is not locked.
    Packages(Option<BTreeMap<String, Versions>>),
    /// Of the digest that a registry's tag stands for, if it is another.
    Image(Option<Versions>),
}

impl Pipeline<'_> {
    /// Whether `FROM name` starts from packages, and from no registry.
    pub fn is_base(&self, name: &str) -> bool {
        self.config.bases.contains_key(name) || distribution(name).is_some()
    }

    /// Where the lock of a base made from packages is; `name` as its node has it, with the platform where that is not
    /// this machine's.
    pub fn base_lock(&self, name: &str) -> PathBuf {
        let (name, platform) = match name.split_once(FOR) {
            Some((name, platform)) => (name, Platform::parse(platform)),
            None => (name, None),
        };
        let base = self.config.bases.get(name);
        let given = base.and_then(|base| base.platform.clone());
        let platform = given.or(platform).unwrap_or_else(|| self.platform());
        let variant = Some(platform.variant.as_str()).filter(|variant| !variant.is_empty());
        let architecture = BaseSpec::debian_architecture(&platform.architecture, variant);
        crate::base::lock_path(self.world, name, architecture.unwrap_or_default())
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
        let Some((op, platform)) = self.packages(&node, name, platform)? else {
            return self.pulled(graph, node, name, platform);
        };
        self.runs(&platform, format!("{node}: configuring its packages"));
        let config = op.config();
        let node = graph
            .add(NodeKind::Base, node, vec![], Box::new(op))
            .map_err(|error| defect(&error))?;
        self.keep(node, config);
        Ok(node)
    }

    /// The base that is made from packages, and its platform; none where `name` is an image of a registry.
    fn packages(
        &self,
        node: &str,
        name: &str,
        platform: &Platform,
    ) -> Result<Option<(Packages, Platform)>, OpError> {
        let Some(base) = self
            .config
            .bases
            .get(name)
            .cloned()
            .or_else(|| distribution(name))
        else {
            return Ok(None);
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
            node: node.to_owned(),
            keyring,
            update: self.update.contains(node),
        };
        Ok(Some((op, platform)))
    }

    fn pull(&self, node: &str, name: &str, platform: &Platform) -> Result<Pull, OpError> {
        let reference: Reference = name
            .parse()
            .map_err(|error: tbuild_oci::ReferenceError| OpError::usage(error.to_string()))?;
        Ok(Pull {
            world: Arc::clone(self.world),
            client: Arc::clone(&self.client),
            name: name.to_owned(),
            reference,
            platform: crate::index::described_as(platform),
            update: self.update.contains(node),
        })
    }

    /// What has changed of a base since it was locked; `name` as its node has it.
    pub(crate) async fn outdated_base(&self, name: &str) -> Result<Changes, OpError> {
        let node = format!("base:{name}");
        let (name, platform) = name.split_once(FOR).unwrap_or((name, ""));
        let platform = Platform::parse(platform).unwrap_or_else(|| self.platform());
        if let Some((op, _)) = self.packages(&node, name, &platform)? {
            return Ok(Changes::Packages(op.outdated().await?));
        }
        let op = self.pull(&node, name, &platform)?;
        Ok(Changes::Image(op.outdated().await?))
    }

    /// An image of a registry.
    fn pulled(
        &mut self,
        graph: &mut Nodes,
        node: String,
        name: &str,
        platform: &Platform,
    ) -> Result<NodeId, OpError> {
        let op = self.pull(&node, name, platform)?;
        // What keeps the question from being answered is the node's to tell, with all that belongs to it.
        let ask = self.ask;
        let found = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(op.config(ask))
        });
        let node = graph
            .add(NodeKind::Base, node, vec![], Box::new(op))
            .map_err(|error| defect(&error))?;
        if let Ok(Some(config)) = found {
            self.keep(node, config);
        }
        Ok(node)
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
