//! Names of nodes: `kind:name`.

use std::fmt;

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
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
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
