//! Which node needs which.

use crate::model::{Config, ToolOrigin, TreeInput, TreeRef};
use crate::names::{Kind, NodeRef};
use crate::value::{Place, Spanned};

/// One node needs another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The one that needs; a command, a component, `[project]` and `[node]` need without being nodes and have none.
    pub from: Option<NodeRef>,
    /// The one that is needed.
    pub to: NodeRef,
    /// Where that is said.
    pub place: Place,
}

impl Config {
    /// All edges that tbuild.toml alone says. What Dockerfiles add (FROM and COPY --from) is not among them.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges = Edges(Vec::new());
        for (name, image) in &self.images {
            let from = NodeRef::new(Kind::Image, name);
            edges.trees(&from, image.contexts.values());
            edges.tree(Some(&from), image.context.as_ref());
        }
        for (name, artifact) in &self.artifacts {
            let from = NodeRef::new(Kind::Artifact, name);
            edges.add(Some(&from), Kind::Image, &artifact.image);
            edges.trees(&from, artifact.inputs.values());
        }
        for (name, tool) in &self.tools {
            if let ToolOrigin::Image { image, .. } = &tool.origin {
                edges.add(Some(&NodeRef::new(Kind::Tool, name)), Kind::Image, image);
            }
            if let ToolOrigin::Artifact { artifact, .. } = &tool.origin {
                edges.add(
                    Some(&NodeRef::new(Kind::Tool, name)),
                    Kind::Artifact,
                    artifact,
                );
            }
        }
        for (name, chart) in &self.charts {
            let from = NodeRef::new(Kind::Chart, name);
            chart
                .images
                .values()
                .for_each(|image| edges.add(Some(&from), Kind::Image, image));
        }
        for (name, release) in &self.releases {
            let from = NodeRef::new(Kind::Release, name);
            edges.add(Some(&from), Kind::Chart, &release.chart);
            edges.nodes(Some(&from), &release.needs);
        }
        for (name, task) in &self.tasks {
            let from = NodeRef::new(Kind::Task, name);
            // Of its release it takes the chart and the values: the release itself may come later.
            if let Some(release) = self.releases.get(&task.release.value) {
                edges.add(
                    Some(&from),
                    Kind::Chart,
                    &Spanned::new(release.chart.value.clone(), task.release.place.clone()),
                );
            }
            task.after
                .iter()
                .for_each(|release| edges.add(Some(&from), Kind::Release, release));
            if let Some(before) = &task.before {
                let release = NodeRef::new(Kind::Release, &before.value);
                edges.0.push(Edge {
                    from: Some(release),
                    to: from.clone(),
                    place: before.place.clone(),
                });
            }
            edges.nodes(Some(&from), &task.inputs);
        }
        for (name, target) in &self.targets {
            edges.nodes(Some(&NodeRef::new(Kind::Target, name)), &target.needs);
        }
        for dev in self.components.values().flat_map(|one| one.dev.values()) {
            edges.tree(None, Some(&dev.from.from));
        }
        self.commands
            .values()
            .for_each(|command| edges.nodes(None, &command.needs));
        edges.nodes(None, &self.project.default);
        if let Some(node) = &self.node {
            edges.add(None, Kind::Image, &node.image);
            node.images
                .values()
                .for_each(|image| edges.add(None, Kind::Image, image));
        }
        edges.0
    }
}

struct Edges(Vec<Edge>);

impl Edges {
    fn add(&mut self, from: Option<&NodeRef>, kind: Kind, name: &Spanned<String>) {
        let to = NodeRef::new(kind, &name.value);
        self.0.push(Edge {
            from: from.cloned(),
            to,
            place: name.place.clone(),
        });
    }

    fn nodes(&mut self, from: Option<&NodeRef>, nodes: &[Spanned<NodeRef>]) {
        for node in nodes {
            self.0.push(Edge {
                from: from.cloned(),
                to: node.value.clone(),
                place: node.place.clone(),
            });
        }
    }

    fn tree(&mut self, from: Option<&NodeRef>, tree: Option<&Spanned<TreeRef>>) {
        if let Some(Spanned {
            value: TreeRef::Node(node),
            place,
        }) = tree
        {
            self.0.push(Edge {
                from: from.cloned(),
                to: node.clone(),
                place: place.clone(),
            });
        }
    }

    fn trees<'a>(&mut self, from: &NodeRef, inputs: impl Iterator<Item = &'a TreeInput>) {
        inputs.for_each(|input| self.tree(Some(from), Some(&input.from)));
    }
}
