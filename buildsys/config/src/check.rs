//! What holds between tables: names, references, no cycle.

use std::collections::{BTreeMap, BTreeSet};

use tbuild_dockerfile::{Diagnostic, suggest};

use crate::edges::Edge;
use crate::model::{Config, ToolOrigin};
use crate::names::{FindError, Kind, NodeRef, find_bare};
use crate::value::{Place, Spanned};

/// Distributions that need no `[origin.X]`.
const DISTRIBUTIONS: [&str; 2] = ["debian", "ubuntu"];

/// Subcommands that run the task of their name.
const TASK_COMMANDS: [&str; 4] = ["migrate", "collect-static", "backup", "restore"];

/// Subcommands that run the command of their name.
const COMMAND_COMMANDS: [&str; 1] = ["superuser"];

/// All that is wrong between tables. `reserved` are the subcommands of tbuild.
pub(crate) fn check(config: &Config, reserved: &[&str]) -> Vec<Diagnostic> {
    let mut errors = Vec::new();
    names(config, reserved, &mut errors);
    let edges = config.edges();
    let known = |edge: &&Edge| {
        let known = config.contains(&edge.to);
        if !known {
            errors.push(unknown(config, &edge.to, &edge.place));
        }
        known
    };
    let edges: Vec<&Edge> = edges.iter().filter(known).collect();
    other_references(config, &mut errors);
    errors.extend(cycle(&edges));
    errors
}

/// Bare names mean one thing.
fn names(config: &Config, reserved: &[&str], errors: &mut Vec<Diagnostic>) {
    let mut seen: BTreeMap<String, NodeRef> = BTreeMap::new();
    for (node, place) in config
        .nodes()
        .into_iter()
        .filter(|(node, _)| node.kind.shares_names())
    {
        let name = node.name.as_str();
        let runs_it = match node.kind {
            Kind::Task => TASK_COMMANDS.contains(&name),
            Kind::Command => COMMAND_COMMANDS.contains(&name),
            _ => false,
        };
        if reserved.contains(&node.name.as_str()) && !runs_it {
            let message = format!("{node} has the name of the subcommand tbuild {}", node.name);
            errors.push(place.error("NameCollision", message));
        }
        match seen.get(&node.name) {
            Some(other) if !belongs(config, other, &node) => {
                let message = format!("{node} has the name of {other}");
                errors.push(
                    place
                        .error("NameCollision", message)
                        .with_hint("a bare name means one thing"),
                );
            }
            Some(_) => {}
            None => {
                seen.insert(node.name.clone(), node);
            }
        }
    }
}

/// A tool may be called as the artifact or image that it comes out of.
fn belongs(config: &Config, one: &NodeRef, other: &NodeRef) -> bool {
    let comes_from = |tool: &NodeRef, made: &NodeRef| {
        let origin = config.tools.get(&tool.name).map(|tool| &tool.origin);
        tool.kind == Kind::Tool
            && match origin {
                Some(ToolOrigin::Artifact { artifact, .. }) => {
                    made.kind == Kind::Artifact && artifact.value == made.name
                }
                Some(ToolOrigin::Image { image, .. }) => {
                    made.kind == Kind::Image && image.value == made.name
                }
                _ => false,
            }
    };
    comes_from(one, other) || comes_from(other, one)
}

fn unknown(config: &Config, node: &NodeRef, place: &Place) -> Diagnostic {
    let error = place.error(
        "UnknownReference",
        format!("there is no [{}.{}]", node.kind, quoted(&node.name)),
    );
    if let Some(near) = suggest(&node.name, config.names(node.kind)) {
        return error.did_you_mean(Some(&NodeRef::new(node.kind, near).to_string()));
    }
    match config
        .nodes()
        .into_iter()
        .find(|(other, _)| other.name == node.name && other.kind != node.kind)
    {
        Some((other, _)) => error.with_hint(format!("there is {other}")),
        None => error,
    }
}

/// A key as TOML wants it.
fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.chars().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    }
}

/// References that are no edges of the graph.
fn other_references(config: &Config, errors: &mut Vec<Diagnostic>) {
    let releases = config
        .components
        .values()
        .map(|component| &component.release);
    for release in releases.chain(config.tasks.values().map(|task| &task.release)) {
        let node = NodeRef::new(Kind::Release, &release.value);
        if !config.contains(&node) {
            errors.push(unknown(config, &node, &release.place));
        }
    }
    let pushed = config.components.values().flat_map(|one| one.dev.values());
    let undone = config.tasks.values().flat_map(|task| &task.undoes);
    for undone in undone.chain(pushed.flat_map(|dev| &dev.undoes)) {
        let node = NodeRef::new(Kind::Task, &undone.value);
        if !config.contains(&node) {
            errors.push(unknown(config, &node, &undone.place));
        }
    }
    let components = config.commands.values();
    for component in components.filter_map(|command| command.component.as_ref()) {
        if !config.components.contains_key(&component.value) {
            let message = format!("there is no [component.{}]", quoted(&component.value));
            let error = component.place.error("UnknownReference", message);
            let known = config.components.keys().map(String::as_str);
            errors.push(match suggest(&component.value, known) {
                Some(near) => error.did_you_mean(Some(near)),
                None => error,
            });
        }
    }
    for base in config.bases.values() {
        let Spanned { value: name, place } = &base.distribution;
        if !DISTRIBUTIONS.contains(&name.as_str()) && !config.origins.contains_key(name) {
            let known = DISTRIBUTIONS
                .into_iter()
                .chain(config.origins.keys().map(String::as_str));
            let error = place.error(
                "UnknownReference",
                format!("there is no distribution {name:?}"),
            );
            errors.push(match suggest(name, known) {
                Some(near) => error.did_you_mean(Some(near)),
                None => error.with_hint(format!("debian, ubuntu, or an [origin.{}]", quoted(name))),
            });
        }
    }
}

/// The first cycle, with its path, at the reference that closes it.
fn cycle(edges: &[&Edge]) -> Option<Diagnostic> {
    let mut next: BTreeMap<&NodeRef, Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        if let Some(from) = &edge.from {
            next.entry(from).or_default().push(edge);
        }
    }
    let mut done: BTreeSet<&NodeRef> = BTreeSet::new();
    for start in next.keys() {
        // The way from the start: each node, and how many of its edges have been taken.
        let mut way: Vec<(&NodeRef, usize)> = vec![(start, 0)];
        while let Some((node, taken)) = way.last_mut() {
            let node = *node;
            let edge = next.get(node).and_then(|edges| edges.get(*taken)).copied();
            *taken += 1;
            let Some(edge) = edge.filter(|_| !done.contains(node)) else {
                done.insert(node);
                way.pop();
                continue;
            };
            if let Some(begin) = way.iter().position(|(on_way, _)| *on_way == &edge.to) {
                let nodes = way[begin..].iter().map(|(node, _)| *node).chain([&edge.to]);
                let path: Vec<String> = nodes.map(ToString::to_string).collect();
                let message = format!("{} needs itself", edge.to);
                return Some(
                    edge.place
                        .error("Cycle", message)
                        .with_hint(format!("cycle: {}", path.join(" -> "))),
                );
            }
            way.push((&edge.to, 0));
        }
    }
    None
}

impl Config {
    /// Whether there is such a node.
    pub fn contains(&self, node: &NodeRef) -> bool {
        self.names(node.kind).any(|name| name == node.name)
    }

    /// Names of all nodes of a kind.
    pub fn names(&self, kind: Kind) -> Box<dyn Iterator<Item = &str> + '_> {
        fn keys<T>(map: &BTreeMap<String, T>) -> Box<dyn Iterator<Item = &str> + '_> {
            Box::new(map.keys().map(String::as_str))
        }
        match kind {
            Kind::Source => keys(&self.sources),
            Kind::Base => keys(&self.bases),
            Kind::Image | Kind::Push => keys(&self.images),
            Kind::Artifact => keys(&self.artifacts),
            Kind::Chart => keys(&self.charts),
            Kind::Release => keys(&self.releases),
            Kind::Task => keys(&self.tasks),
            Kind::Target => keys(&self.targets),
            Kind::Command => keys(&self.commands),
            Kind::Tool => keys(&self.tools),
        }
    }

    /// All nodes and commands, each with the place of its name.
    pub fn nodes(&self) -> Vec<(NodeRef, Place)> {
        let mut nodes = Vec::new();
        macro_rules! each {
            ($($kind:ident $map:ident),*) => {
                $(nodes.extend(self.$map.iter().map(|(name, value)| {
                    (NodeRef::new(Kind::$kind, name), value.place.clone())
                }));)*
            };
        }
        each!(
            Source sources, Base bases, Image images, Artifact artifacts, Chart charts, Release releases, Task tasks,
            Target targets, Command commands, Tool tools
        );
        nodes
    }

    /// The node or command that a name on the command line means: `kind:name`, or a bare name that only one has.
    /// Among several, one of the kinds whose names do not collide goes first.
    pub fn find(&self, name: &str) -> Result<NodeRef, FindError> {
        if let Some((word, bare)) = name.split_once(':')
            && let Some(kind) = Kind::parse(word)
        {
            let node = NodeRef::new(kind, bare);
            if self.contains(&node) {
                return Ok(node);
            }
            let suggestion = suggest(bare, self.names(kind)).map(|near| format!("{kind}:{near}"));
            return Err(FindError::Unknown {
                name: name.to_owned(),
                suggestion,
            });
        }
        let nodes: Vec<NodeRef> = self.nodes().into_iter().map(|(node, _)| node).collect();
        find_bare(&nodes, name)
    }
}
