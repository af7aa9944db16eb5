//! Pushes into pods that run turned into nodes.

use std::sync::Arc;

use tbuild_config::{Kind, SourceOrigin, TreeRef};
use tbuild_graph::{NodeId, NodeKind};
use tbuild_realise::OpError;

use crate::dev::{DevPods, DevPush, Job, Parts, Target};
use crate::pipeline::{Pipeline, input_name};
use crate::recipe::{Nodes, defect};

impl Pipeline<'_> {
    /// The node that makes `[component.X.dev.NAME]` so. Its pods are looked at from now on.
    pub fn dev_push(
        &mut self,
        graph: &mut Nodes,
        component: &str,
        name: &str,
        pods: &Arc<DevPods>,
    ) -> Result<NodeId, OpError> {
        let config = self.config;
        let found = config.components.get(component);
        let (Some(place), Some(dev)) = (found, found.and_then(|found| found.dev.get(name))) else {
            return Err(Self::missing(
                "component",
                &format!("{component}.dev.{name}"),
            ));
        };
        let mut edited = matches!(dev.from.from.value, TreeRef::Path(_));
        if let TreeRef::Node(node) = &dev.from.from.value
            && node.kind == Kind::Source
        {
            edited = true;
            let source = config.sources.get(&node.name);
            if !source.is_some_and(|source| matches!(source.origin, SourceOrigin::Path(_))) {
                let message = format!("source {} is no folder: nobody edits it", node.name);
                let hint = format!("--source {}=PATH names a checkout", node.name);
                return Err(OpError::usage(message).hint(hint));
            }
        }
        let node = format!("dev-push:{component}.{name}");
        let input = self.tree(graph, &node, &dev.from)?;
        let release = config.releases.get(&place.release.value);
        let parts = Parts {
            target: Target {
                component: component.to_owned(),
                name: name.to_owned(),
                namespace: release
                    .map_or_else(|| "default".to_owned(), |release| release.namespace.clone()),
                selector: place.selector.value.clone(),
                one: dev.one,
            },
            job: Job {
                name: name.to_owned(),
                roots: dev.paths.values().map(|to| to.value.clone()).collect(),
                reload: dev
                    .reload
                    .as_ref()
                    .map(tbuild_config::Run::argv)
                    .unwrap_or_default(),
            },
            paths: dev
                .paths
                .iter()
                .map(|(path, to)| (path.clone(), to.value.clone()))
                .collect(),
            what: input_name(&dev.from.from.value),
            edited,
            undoes: dev.undoes.iter().map(|task| task.value.clone()).collect(),
        };
        let op = DevPush::new(self.world, pods, parts);
        graph
            .add(NodeKind::Push, node, vec![input], Box::new(op))
            .map_err(|error| defect(&error))
    }
}
