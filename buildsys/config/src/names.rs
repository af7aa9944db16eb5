//! Names of nodes: `kind:name`.

use std::fmt;

use tbuild_dockerfile::suggest;

/// The tables that hold nodes, and commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `[source.X]`
    Source,
    /// `[base.X]`
    Base,
    /// `[image.X]`
    Image,
    /// `[artifact.X]`
    Artifact,
    /// `[chart.X]`
    Chart,
    /// `[release.X]`
    Release,
    /// `[task.X]`
    Task,
    /// `[target.X]`
    Target,
    /// `[command.X]`
    Command,
    /// `[tool.X]`
    Tool,
    /// An image in its registry: one for each `[image.X]`, asked for as `push:X` only.
    Push,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Source,
        Self::Base,
        Self::Image,
        Self::Artifact,
        Self::Chart,
        Self::Release,
        Self::Task,
        Self::Target,
        Self::Command,
        Self::Tool,
        Self::Push,
    ];

    /// The word of the table and in front of names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Base => "base",
            Self::Image => "image",
            Self::Artifact => "artifact",
            Self::Chart => "chart",
            Self::Release => "release",
            Self::Task => "task",
            Self::Target => "target",
            Self::Command => "command",
            Self::Tool => "tool",
            Self::Push => "push",
        }
    }

    /// The kind of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// Whether its bare names must differ from those of the other such kinds and from subcommands.
    pub fn shares_names(self) -> bool {
        matches!(
            self,
            Self::Target | Self::Command | Self::Image | Self::Artifact | Self::Task | Self::Tool
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A node by kind and name; shown as `kind:name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRef {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: String,
}

impl NodeRef {
    /// Puts them together.
    pub fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// Why a name given on the command line means no node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindError {
    /// Nothing has it.
    Unknown {
        /// The name.
        name: String,
        /// The nearest one that something has.
        suggestion: Option<String>,
    },
    /// Several things have it.
    Ambiguous {
        /// The name.
        name: String,
        /// All of them.
        candidates: Vec<NodeRef>,
    },
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, .. } => write!(f, "nothing is named {name}"),
            Self::Ambiguous { name, candidates } => {
                let names: Vec<String> = candidates.iter().map(ToString::to_string).collect();
                write!(f, "{name} could be {}", names.join(" or "))
            }
        }
    }
}

impl std::error::Error for FindError {}

impl FindError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { suggestion, .. } => suggestion
                .as_ref()
                .map(|near| format!("did you mean {near}?")),
            Self::Ambiguous { .. } => Some("write the kind in front".to_owned()),
        }
    }
}

/// The node that a bare name means among `nodes`: the only one, or the only one of the kinds whose names do not
/// collide.
pub(crate) fn find_bare(nodes: &[NodeRef], name: &str) -> Result<NodeRef, FindError> {
    let bare = || nodes.iter().filter(|node| node.kind != Kind::Push);
    let all: Vec<&NodeRef> = bare().filter(|node| node.name == name).collect();
    let first: Vec<&NodeRef> = all
        .iter()
        .copied()
        .filter(|node| node.kind.shares_names())
        .collect();
    match (first.as_slice(), all.as_slice()) {
        ([node], _) | ([], [node]) => Ok(NodeRef::clone(node)),
        (_, []) => {
            let suggestion =
                suggest(name, bare().map(|node| node.name.as_str())).map(str::to_owned);
            Err(FindError::Unknown {
                name: name.to_owned(),
                suggestion,
            })
        }
        _ => match first.iter().find(|node| node.kind == Kind::Tool) {
            // A tool, and the artifact or image that it comes out of.
            Some(tool) => Ok(NodeRef::clone(tool)),
            None => Err(FindError::Ambiguous {
                name: name.to_owned(),
                candidates: all.into_iter().cloned().collect(),
            }),
        },
    }
}
