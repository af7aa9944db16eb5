//! Tools of a configuration as nodes.

use std::sync::Arc;

use tbuild_config::{Kind, NodeRef, ToolOrigin};
use tbuild_graph::{NodeId, NodeKind};
use tbuild_realise::OpError;

use crate::pipeline::Pipeline;
use crate::recipe::{Nodes, defect};

impl Pipeline<'_> {
    /// The node of a tool of the configuration.
    pub(crate) fn tool(&mut self, graph: &mut Nodes, name: &str) -> Result<NodeId, OpError> {
        let tool = self
            .config
            .tools
            .get(name)
            .ok_or_else(|| Self::missing("tool", name))?;
        let node = format!("tool:{name}");
        // A tool of the graph is one file of what another node makes.
        let (input, path) = match &tool.origin {
            ToolOrigin::Artifact { artifact, path, .. } => {
                let artifact = NodeRef::new(Kind::Artifact, &artifact.value);
                (self.node(graph, &artifact)?, path)
            }
            ToolOrigin::Image { image, path } => {
                let machine = self.platform();
                (self.image_for(graph, &image.value, &machine)?, path)
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
                return graph
                    .add(NodeKind::Tool, node, vec![], Box::new(op))
                    .map_err(|error| defect(&error));
            }
        };
        let op = crate::tool::Tool {
            world: Arc::clone(self.world),
            path: path.value.clone(),
        };
        graph
            .add(NodeKind::Tool, node, vec![input], Box::new(op))
            .map_err(|error| defect(&error))
    }
}
