//! Which steps the images and artifacts of a configuration have in which locks.

use std::collections::{BTreeMap, BTreeSet};

use tbuild_config::{Kind, NodeRef};
use tbuild_dockerfile::Platform;

use crate::network::Recorded;
use crate::pipeline::Pipeline;
use crate::recipe::Nodes;

/// Platforms that an image may have been locked for on another machine: a lock does not say.
const PLATFORMS: [&str; 9] = [
    "linux/386",
    "linux/amd64",
    "linux/arm/v5",
    "linux/arm/v6",
    "linux/arm/v7",
    "linux/arm64",
    "linux/ppc64le",
    "linux/riscv64",
    "linux/s390x",
];

fn platforms() -> impl Iterator<Item = Platform> {
    PLATFORMS.iter().filter_map(|text| Platform::parse(text))
}

/// The steps of locks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockedSteps {
    /// Their ids, by the names of their locks: of all platforms, and those that would not be recorded, too.
    pub ids: BTreeMap<String, BTreeSet<String>>,
    /// Locks with steps that cannot be told, and why.
    pub unsure: BTreeMap<String, String>,
}

impl LockedSteps {
    /// Adds those of the same locks under another configuration.
    pub fn add(&mut self, other: Self) {
        for (lock, ids) in other.ids {
            self.ids.entry(lock).or_default().extend(ids);
        }
        self.unsure.extend(other.unsure);
    }
}

impl Pipeline<'_> {
    /// Notes a step of a lock.
    pub(crate) fn note(&mut self, recorded: &Recorded) {
        if let Some(steps) = &mut self.steps {
            let ids = steps.entry(recorded.of.name.clone()).or_default();
            ids.insert(recorded.step.id.clone());
        }
    }

    /// Notes a step as it is for each platform.
    pub(crate) fn note_for_all(&mut self, recorded_for: &dyn Fn(&Platform) -> Recorded) {
        if self.steps.is_some() {
            platforms().for_each(|platform| self.note(&recorded_for(&platform)));
            let machine = self.platform();
            self.note(&recorded_for(&machine));
        }
    }

    /// The steps of all images and artifacts. Nothing is built, and no registry is asked.
    pub fn locked_steps(mut self) -> LockedSteps {
        self.steps = Some(BTreeMap::new());
        self.ask = false;
        let mut unsure = BTreeMap::new();
        let config = self.config;
        let images = config.images.keys().map(|name| (Kind::Image, name));
        let artifacts = config.artifacts.keys().map(|name| (Kind::Artifact, name));
        for (kind, name) in images.chain(artifacts) {
            let node = NodeRef::new(kind, name);
            let lock = match self.lock_of(&node) {
                Ok(Some(lock)) => lock.name.clone(),
                // Without a Dockerfile there is no lock either.
                Ok(None) | Err(_) => continue,
            };
            if let Err(error) = self.node(&mut Nodes::new(), &node) {
                unsure.insert(lock, format!("{node}: {error}"));
                continue;
            }
            let is_for_any = config
                .images
                .get(name)
                .is_some_and(|image| image.platforms.is_empty());
            for platform in platforms().filter(|_| kind == Kind::Image && is_for_any) {
                // What it cannot be made for has no steps.
                let _none = self.image_for(&mut Nodes::new(), name, &platform);
            }
        }
        LockedSteps {
            ids: self.steps.unwrap_or_default(),
            unsure,
        }
    }
}
