//! An image for several platforms: each has nodes of its own, but for the stages that come to the same for all.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use tbuild_dockerfile::{CopySource, Plan, Platform, Stage, ast};
use tbuild_graph::{NodeId, NodeKind};
use tbuild_oci::ImageConfig;
use tbuild_realise::{Context, Op, OpError, Output, Prepared};

use crate::recipe::{Ends, Names, Nodes, Recipe, Show, Wanted, defect};
use crate::value::input;
use crate::{ImageValue, IndexValue, World};

/// Stages that are in the graph already, by all that they come from.
pub(crate) type Shared = HashMap<String, NodeId>;

/// Platforms in the order in which an index has them, each once: sorted, so that the order in which they were
/// asked for decides no digest.
pub fn sorted(platforms: &[Platform]) -> Vec<Platform> {
    let mut platforms = platforms.to_vec();
    platforms.sort();
    platforms.dedup();
    platforms
}

/// The name of an image's nodes for one of its platforms.
pub(crate) fn name_for(name: &str, platform: &Platform) -> String {
    format!("{name} for {}", platform.joined("-"))
}

/// What `name` is called without the platform that [`name_for`] adds.
pub fn plain_name(name: &str) -> &str {
    name.split_once(" for ").map_or(name, |(name, _)| name)
}

/// Adds a recipe's image for one platform or, as an index, for several; its node is called after the recipe.
pub(crate) fn add(
    world: &Arc<World>,
    graph: &mut Nodes,
    recipe: &Recipe,
    platforms: &[Platform],
    names: &mut dyn Names<'_>,
    show: &Show,
) -> Result<NodeId, OpError> {
    let mut shared = Shared::new();
    let platforms = sorted(platforms);
    if let [platform] = platforms.as_slice() {
        let recipe = Recipe {
            platform: platform.clone(),
            ..recipe.clone()
        };
        return recipe.add(world, graph, names, show, &mut shared);
    }
    let mut images = Vec::new();
    for platform in &platforms {
        let recipe = Recipe {
            platform: platform.clone(),
            wanted: Wanted::OneOf,
            ..recipe.clone()
        };
        images.push(recipe.add(world, graph, names, show, &mut shared)?);
    }
    graph
        .add(
            NodeKind::Image,
            format!("image:{}", recipe.name),
            images,
            Box::new(List { platforms }),
        )
        .map_err(|error| defect(&error))
}

/// All that decides what a stage comes to: two stages with the same text are one.
pub(crate) fn fingerprint(
    graph: &mut Nodes,
    names: &mut dyn Names<'_>,
    plan: &Plan,
    stage: &Stage,
    start: &str,
    target: &Platform,
    ends: &Ends,
) -> Result<String, OpError> {
    let mut text = format!("{} {start}", stage.index);
    for step in &stage.steps {
        let _infallible = write!(text, "\n{step:?}");
        let sources = std::iter::once(&step.copy_from).chain(step.mount_from.iter().flatten());
        for source in sources {
            let node = match source {
                CopySource::Context => continue,
                CopySource::Stage(index) => ends.get(index).map(|end| end.node),
                CopySource::Named(name) => Some(names.named(graph, name, target)?),
            };
            let _infallible = write!(text, " {node:?}");
        }
        if let ast::Kind::Arg(definitions) = &step.kind {
            for definition in definitions {
                let _infallible = write!(text, " {:?}", plan.globals.get(&definition.name.text));
            }
        }
    }
    Ok(text)
}

/// Says in a config what platform its image was asked to be for, as BuildKit does, whatever its base is for.
pub(crate) fn set_platform(config: &mut ImageConfig, platform: &Platform) {
    let same = config.os == platform.os && config.architecture == platform.architecture;
    config.os.clone_from(&platform.os);
    config.architecture.clone_from(&platform.architecture);
    if !platform.variant.is_empty() || !same {
        config.variant = Some(platform.variant.clone()).filter(|variant| !variant.is_empty());
    }
}

/// Images of several platforms as one. Its inputs: the images, in order.
struct List {
    platforms: Vec<Platform>,
}

#[async_trait]
impl Op for List {
    fn title(&self) -> String {
        "list the images of all platforms".to_owned()
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let mut images = Vec::new();
        for (at, platform) in self.platforms.iter().enumerate() {
            images.push((platform.clone(), input::<ImageValue>(inputs, at)?));
        }
        Ok(Prepared::Ready(Output::new(IndexValue { images })))
    }
}
