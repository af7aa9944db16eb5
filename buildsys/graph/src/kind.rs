//! The kinds of node, and the table of what each kind's key covers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What sort of thing a node makes or changes.
///
/// | kind | its key covers |
/// |---|---|
/// | source | nothing: its tree is observed each time; a git source is keyed on URL and commit |
/// | base | the digests of its packages in order, the schema of its clean-up, the executor's policy; or a manifest digest |
/// | step | RUN: layers below, command, shell, environment, user, folder, network policy; COPY: digests of what is copied, owner, mode, and the facts of the destination; nothing else of the layers below |
/// | image | nothing of its own: it is composed from its last step |
/// | artifact | the image's layers and environment, trees of the inputs, command, declared outputs, network policy |
/// | chart | the chart folder's tree, the packer's version |
/// | tool | the artifact or the pinned URL and SHA-256 |
/// | push | manifest digest, repository, tags; observed at the registry |
/// | release | chart digest, values, image digests; observed in the cluster |
/// | task | chart digest, template, values, image digests, declared inputs; observed in the cluster |
/// | node | the node image's layers and settings; observed on the machine |
/// | target | nothing: a name for other nodes |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeKind {
    /// A tree from a folder, a git revision or a URL.
    Source,
    /// An image to start from.
    Base,
    /// One Dockerfile instruction.
    Step,
    /// A target of a Dockerfile, composed.
    Image,
    /// Files made by a command run in an image.
    Artifact,
    /// A packaged Helm chart.
    Chart,
    /// A program.
    Tool,
    /// An image in a registry.
    Push,
    /// A Helm release.
    Release,
    /// A Job.
    Task,
    /// A machine of a cluster.
    Node,
    /// A name for other nodes.
    Target,
}

impl NodeKind {
    /// The word that names of this kind begin with.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Base => "base",
            Self::Step => "step",
            Self::Image => "image",
            Self::Artifact => "artifact",
            Self::Chart => "chart",
            Self::Tool => "tool",
            Self::Push => "push",
            Self::Release => "release",
            Self::Task => "task",
            Self::Node => "node",
            Self::Target => "target",
        }
    }

    /// Whether nodes of this kind change the world outside the store.
    pub fn is_effect(self) -> bool {
        matches!(self, Self::Push | Self::Release | Self::Task | Self::Node)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
