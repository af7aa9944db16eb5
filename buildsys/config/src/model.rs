//! A configuration, typed.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::Span;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Bytes of tbuild.toml; 0..0 if it came from the command line.
    pub span: Span,
}

/// All of tbuild.toml, profiles applied. Tables by name, each with the span of its name.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `[project]`.
    pub project: Project,
    /// `[source.X]`.
    pub sources: BTreeMap<String, Source>,
    /// `[base."name:tag"]`.
    pub bases: BTreeMap<String, Base>,
    /// `[image.X]`.
    pub images: BTreeMap<String, Image>,
    /// `[artifact.X]`.
    pub artifacts: BTreeMap<String, Artifact>,
    /// `[chart.X]`.
    pub charts: BTreeMap<String, Chart>,
    /// `[release.X]`.
    pub releases: BTreeMap<String, Release>,
    /// `[task.X]`.
    pub tasks: BTreeMap<String, Task>,
    /// `[target.X]`.
    pub targets: BTreeMap<String, Target>,
    /// `[command.X]`.
    pub commands: BTreeMap<String, Command>,
    /// `[component.X]`.
    pub components: BTreeMap<String, Component>,
    /// `[tool.X]`.
    pub tools: BTreeMap<String, Tool>,
    /// `[node]`.
    pub node: Option<NodeMachine>,
}

/// `[project]`.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// `HOST:PORT` that images are pushed to.
    pub registry: Option<String>,
    /// The targets when none is named.
    pub default: Vec<Spanned<String>>,
    /// The environment variables that `${env:X}` may read.
    pub env: Vec<String>,
}

/// `[source.X]`.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where its name stands.
    pub span: Span,
    /// Where it comes from.
    pub kind: SourceKind,
    /// Patterns of what belongs to it; empty: all.
    pub include: Vec<String>,
    /// Patterns of what does not.
    pub exclude: Vec<String>,
}

/// Where a source comes from.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// A folder.
    Path(Spanned<String>),
    /// A git repository at a commit, tag or branch.
    Git {
        /// The repository.
        url: Spanned<String>,
        /// The revision.
        rev: String,
    },
    /// A file at a URL with this SHA-256.
    Url {
        /// The address.
        url: Spanned<String>,
        /// 64 hex digits.
        sha256: String,
    },
}

/// `[base."name:tag"]`: an image out of a distribution's packages.
#[derive(Debug, Clone)]
pub struct Base {
    /// Where its name stands.
    pub span: Span,
    /// The logical origin: `debian`, `ubuntu`.
    pub distribution: String,
    /// The suite.
    pub suite: String,
    /// Further suites of the same distribution.
    pub extra_suites: Vec<String>,
    /// Components.
    pub components: Vec<String>,
    /// Packages besides the essential ones and apt.
    pub include: Vec<String>,
    /// The keyring that the Release files are verified with.
    pub keyring: Option<Spanned<String>>,
    /// `os/architecture`; none: this machine's.
    pub platform: Option<String>,
}

/// A tree that something takes: a source, an artifact, an image, a folder, or a part of one.
#[derive(Debug, Clone)]
pub struct Input {
    /// What it is taken from.
    pub from: From,
    /// Where it stands.
    pub span: Span,
    /// Patterns of what is taken; empty: all.
    pub include: Vec<String>,
    /// Patterns of what is not.
    pub exclude: Vec<String>,
}

/// What an input is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// `source:X`.
    Source(String),
    /// `artifact:X`.
    Artifact(String),
    /// `image:X`.
    Image(String),
    /// A folder.
    Path(String),
}

/// `[image.X]`.
#[derive(Debug, Clone)]
pub struct Image {
    /// Where its name stands.
    pub span: Span,
    /// The Dockerfile; none: `images/X/Dockerfile.hbs` or `images/X/Dockerfile`.
    pub dockerfile: Option<Spanned<String>>,
    /// The build context; none: the Dockerfile's folder.
    pub context: Option<Input>,
    /// Named contexts.
    pub contexts: BTreeMap<String, Input>,
    /// The stage; none: the last one.
    pub target: Option<String>,
    /// Values of ARG.
    pub args: BTreeMap<String, String>,
    /// Values for `Dockerfile.hbs`.
    pub values: BTreeMap<String, Json>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `os/architecture`, each; empty: this machine's.
    pub platforms: Vec<String>,
    /// Its repository; none: X.
    pub repository: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
}

/// What is run: a line for the shell, or a program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// For `/bin/sh -c`.
    Shell(String),
    /// As it is.
    Exec(Vec<String>),
}

impl CommandLine {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Exec(argv) => argv.clone(),
        }
    }
}

/// `[artifact.X]`.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where its name stands.
    pub span: Span,
    /// The image that it runs in.
    pub image: Spanned<String>,
    /// What it reads, by the name under /inputs.
    pub inputs: BTreeMap<String, Input>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// What runs.
    pub run: CommandLine,
    /// Paths below /outputs that must be there afterwards.
    pub outputs: Vec<String>,
    /// Whether it sees the host's network.
    pub network: bool,
}

/// `[chart.X]`.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Where its name stands.
    pub span: Span,
    /// Its folder; none: `charts/X`.
    pub path: Option<Spanned<String>>,
    /// `.Values.images.KEY` to image.
    pub images: BTreeMap<String, Spanned<String>>,
}

/// `[release.X]`.
#[derive(Debug, Clone)]
pub struct Release {
    /// Where its name stands.
    pub span: Span,
    /// The chart.
    pub chart: Spanned<String>,
    /// The namespace.
    pub namespace: String,
    /// Values files in order.
    pub values: Vec<Spanned<String>>,
    /// Values that count over the files.
    pub set: Json,
    /// How long it may take, in seconds.
    pub timeout: u64,
    /// The values key that holds the registry.
    pub registry_value: Option<String>,
    /// Nodes that come first.
    pub needs: Vec<Spanned<String>>,
}

/// `[task.X]`: a Job.
#[derive(Debug, Clone)]
pub struct Task {
    /// Where its name stands.
    pub span: Span,
    /// The release whose chart, values, images and namespace it has.
    pub release: Spanned<String>,
    /// The chart's template.
    pub template: String,
    /// The release that must be in place first.
    pub after: Option<Spanned<String>>,
    /// The release that waits for it.
    pub before: Option<Spanned<String>>,
    /// Further inputs.
    pub inputs: Vec<Spanned<String>>,
    /// How long it may take, in seconds.
    pub timeout: u64,
}

/// `[target.X]`.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where its name stands.
    pub span: Span,
    /// The nodes.
    pub needs: Vec<Spanned<String>>,
}

/// `[command.X]`.
#[derive(Debug, Clone)]
pub struct Command {
    /// Where its name stands.
    pub span: Span,
    /// Nodes that are realised first.
    pub needs: Vec<Spanned<String>>,
    /// What runs.
    pub run: CommandLine,
    /// What it does.
    pub description: Option<String>,
}

/// `[component.X]`: pods with a name.
#[derive(Debug, Clone)]
pub struct Component {
    /// Where its name stands.
    pub span: Span,
    /// The release that they belong to.
    pub release: Spanned<String>,
    /// Their label selector.
    pub selector: String,
}

/// `[tool.X]`.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Where its name stands.
    pub span: Span,
    /// Where it comes from.
    pub kind: ToolKind,
}

/// Where a tool comes from.
#[derive(Debug, Clone)]
pub enum ToolKind {
    /// A file of an image of this project.
    Image {
        /// The image.
        image: Spanned<String>,
        /// The file's path in it.
        path: String,
    },
    /// A file at a URL, by platform.
    Url {
        /// The address, with `{version}`, `{os}`, `{arch}`.
        url: Spanned<String>,
        /// The version.
        version: String,
        /// `os/architecture` to 64 hex digits.
        sha256: BTreeMap<String, String>,
        /// The file in the archive; none: the file itself.
        member: Option<String>,
    },
}

/// `[node]`.
#[derive(Debug, Clone)]
pub struct NodeMachine {
    /// Where it stands.
    pub span: Span,
    /// The image that is the machine's root file system.
    pub image: Spanned<String>,
    /// Images of the control plane by the name that kubeadm gives them.
    pub images: BTreeMap<String, Spanned<String>>,
    /// The version of Kubernetes, with its v.
    pub version: String,
    /// Node labels.
    pub labels: BTreeMap<String, String>,
}
