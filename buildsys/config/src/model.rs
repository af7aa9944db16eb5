//! What tbuild.toml says, typed.

use std::collections::BTreeMap;
use std::time::Duration;

use tbuild_dockerfile::Platform;

use crate::{NodeRef, Place, Spanned};

/// A JSON object, for values of templates and charts.
pub type JsonMap = serde_json::Map<String, serde_json::Value>;

/// A checked tbuild.toml with profiles and flags laid over it. Every name that it refers to is there, and its
/// nodes form no cycle. Paths are as written: relative to the folder of tbuild.toml.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[project]`
    pub project: Project,
    /// `[source.X]`
    pub sources: BTreeMap<String, Source>,
    /// `[base.X]`
    pub bases: BTreeMap<String, Base>,
    /// `[origin.X]`
    pub origins: BTreeMap<String, Origin>,
    /// `[image.X]`
    pub images: BTreeMap<String, Image>,
    /// `[artifact.X]`
    pub artifacts: BTreeMap<String, Artifact>,
    /// `[chart.X]`
    pub charts: BTreeMap<String, Chart>,
    /// `[release.X]`
    pub releases: BTreeMap<String, Release>,
    /// `[task.X]`
    pub tasks: BTreeMap<String, Task>,
    /// `[target.X]`
    pub targets: BTreeMap<String, Target>,
    /// `[command.X]`
    pub commands: BTreeMap<String, Command>,
    /// `[component.X]`
    pub components: BTreeMap<String, Component>,
    /// `[tool.X]`
    pub tools: BTreeMap<String, Tool>,
    /// `[node]`
    pub node: Option<Node>,
    /// Variables of the environment that were filled in, and their values.
    pub env: BTreeMap<String, String>,
    /// The names of all `[profile.X]`, laid over it or not.
    pub profiles: Vec<String>,
}

/// `[project]`
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Its name.
    pub name: Spanned<String>,
    /// Where images are pushed to, unless a release says otherwise.
    pub registry: Option<Spanned<String>>,
    /// What is built when nothing is named.
    pub default: Vec<Spanned<NodeRef>>,
    /// Variables of the environment that `${env:X}` may read.
    pub env: Vec<Spanned<String>>,
    /// What network a RUN of an image has where neither it nor the image says; the host's if nothing is said.
    pub network: Option<Network>,
}

/// `[source.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where its name stands.
    pub place: Place,
    /// Where it comes from.
    pub origin: SourceOrigin,
    /// What is taken of it, in patterns of .dockerignore; everything if empty.
    pub include: Vec<Spanned<String>>,
    /// What is left out, likewise.
    pub exclude: Vec<Spanned<String>>,
}

/// Where a source comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceOrigin {
    /// A git repository at a commit, tag or branch.
    Git {
        /// URL.
        url: Spanned<String>,
        /// Commit, tag or branch.
        rev: Spanned<String>,
    },
    /// A folder.
    Path(Spanned<String>),
    /// A file of HTTP.
    Url {
        /// URL.
        url: Spanned<String>,
        /// Its SHA-256 in lower-case hexadecimal.
        sha256: Spanned<String>,
    },
}

/// `[base.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Base {
    /// Where its name stands.
    pub place: Place,
    /// `debian`, `ubuntu`, or a name of `[origin.X]`.
    pub distribution: Spanned<String>,
    /// Such as `bookworm`.
    pub suite: Spanned<String>,
    /// Components; `main` if none are named.
    pub components: Vec<String>,
    /// Packages besides the essential ones and apt.
    pub include: Vec<String>,
    /// Keyring that signs the suite; the distribution's own if none.
    pub keyring: Option<Spanned<String>>,
    /// The host's if none.
    pub platform: Option<Platform>,
    /// Such as `bookworm-updates`.
    pub extra_suites: Vec<String>,
}

/// `[origin.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// Where its name stands.
    pub place: Place,
    /// Such as `apt`.
    pub kind: Spanned<String>,
}

/// A tree of files by where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeRef {
    /// A source, artifact or image.
    Node(NodeRef),
    /// A folder.
    Path(String),
}

/// A tree, or a part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct TreeInput {
    /// Which tree.
    pub from: Spanned<TreeRef>,
    /// What is taken of it, in patterns of .dockerignore; everything if empty.
    pub include: Vec<Spanned<String>>,
    /// What is left out, likewise.
    pub exclude: Vec<Spanned<String>>,
}

/// `[image.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Where its name stands.
    pub place: Place,
    /// The Dockerfile; if none, the first that exists of [`Image::dockerfiles`].
    pub dockerfile: Option<Spanned<String>>,
    /// The build context; the Dockerfile's folder if none.
    pub context: Option<Spanned<TreeRef>>,
    /// Named contexts.
    pub contexts: BTreeMap<String, TreeInput>,
    /// Stage of the Dockerfile.
    pub target: Option<Spanned<String>>,
    /// ARG values.
    pub args: BTreeMap<String, Spanned<String>>,
    /// Values of Dockerfile.hbs.
    pub values: JsonMap,
    /// Labels of its configuration.
    pub labels: BTreeMap<String, String>,
    /// Platforms; the host's if empty.
    pub platforms: Vec<Platform>,
    /// What network a RUN has that asks for none; the project's if nothing is said.
    pub network: Option<Network>,
    /// What the lock of its network is called; after the image if nothing is said, or after the Dockerfile where
    /// several images have one.
    pub lock: Option<Spanned<String>>,
    /// Ports besides 80 and 443 at which what steps ask is recorded: HTTP, or TLS with it inside.
    pub ports: Vec<u16>,
    /// Name in the registry.
    pub repository: String,
    /// Tags in the registry.
    pub tags: Vec<String>,
}

impl Image {
    /// The Dockerfile by name, or where to look for it, in order.
    pub fn dockerfiles(&self, name: &str) -> Vec<String> {
        match &self.dockerfile {
            Some(path) => vec![path.value.clone()],
            None => vec![
                format!("images/{name}/Dockerfile.hbs"),
                format!("images/{name}/Dockerfile"),
            ],
        }
    }
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// A line for `/bin/sh -c`.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

impl Run {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Self::Exec(argv) => argv.clone(),
        }
    }
}

/// What network the RUNs of an image or an artifact's command have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// None.
    #[default]
    None,
    /// The host's.
    Host,
    /// A recorded one: what is asked is locked, and answered from the lock.
    Recorded,
}

/// `[artifact.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Where its name stands.
    pub place: Place,
    /// Name of the image that runs it.
    pub image: Spanned<String>,
    /// Mounted read-only at `/inputs/NAME`.
    pub inputs: BTreeMap<String, TreeInput>,
    /// Environment besides the image's.
    pub env: BTreeMap<String, Spanned<String>>,
    /// What runs.
    pub run: Run,
    /// Paths below `/outputs` that must be there afterwards.
    pub outputs: Vec<Spanned<String>>,
    /// What network it has.
    pub network: Network,
}

/// `[chart.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Where its name stands.
    pub place: Place,
    /// Its folder.
    pub path: Spanned<String>,
    /// Key below `.Values.images`, and name of the image.
    pub images: BTreeMap<String, Spanned<String>>,
}

/// `[release.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// Where its name stands.
    pub place: Place,
    /// Name of the chart.
    pub chart: Spanned<String>,
    /// Namespace in the cluster; `default` if none is named.
    pub namespace: String,
    /// Files of values, in order.
    pub values: Vec<Spanned<String>>,
    /// Values over those of the files.
    pub set: JsonMap,
    /// How long it may take.
    pub timeout: Duration,
    /// Key of the values that holds the registry.
    pub registry_value: Option<Spanned<String>>,
    /// What must be there first, besides the chart and its images.
    pub needs: Vec<Spanned<NodeRef>>,
}

/// `[task.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Where its name stands.
    pub place: Place,
    /// Name of the release whose chart, values, images and namespace it uses.
    pub release: Spanned<String>,
    /// Template within the chart.
    pub template: Spanned<String>,
    /// Name of the release that must be in place first.
    pub after: Option<Spanned<String>>,
    /// Name of the release that waits for it.
    pub before: Option<Spanned<String>>,
    /// Further declared inputs.
    pub inputs: Vec<Spanned<NodeRef>>,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it runs each time it is wanted (`run = "asked"`), and not only when what it does has changed.
    pub asked: bool,
    /// What the command line may tell it: its template finds it in `.Values.parameters`.
    pub parameters: Vec<Spanned<String>>,
    /// Names of tasks whose last success counts no longer once this one has succeeded.
    pub undoes: Vec<Spanned<String>>,
}

impl Task {
    /// The parameter that a name on the command line means: `allow-loss` is `allowLoss`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
        self.parameters
            .iter()
            .map(|parameter| parameter.value.as_str())
            .find(|parameter| plain(parameter) == plain(name))
    }
}

/// `[target.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Where its name stands.
    pub place: Place,
    /// What it stands for.
    pub needs: Vec<Spanned<NodeRef>>,
    /// For lists of targets.
    pub description: Option<String>,
}

/// `[command.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Where its name stands.
    pub place: Place,
    /// What is built first.
    pub needs: Vec<Spanned<NodeRef>>,
    /// What runs then.
    pub run: Run,
    /// Name of the component in one of whose containers it runs; on this machine if none.
    pub component: Option<Spanned<String>>,
    /// Variables of that container's program that are asked for, or taken from the environment, and never shown.
    pub secrets: Vec<Spanned<String>>,
    /// For lists of commands.
    pub description: Option<String>,
}

/// `[component.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Where its name stands.
    pub place: Place,
    /// Name of the release in whose namespace it is.
    pub release: Spanned<String>,
    /// Label selector.
    pub selector: Spanned<String>,
    /// What `tbuild dev-push` puts into its pods, by name.
    pub dev: BTreeMap<String, Dev>,
}

/// `[component.X.dev.NAME]`: files that are put into pods that run.
#[derive(Debug, Clone, PartialEq)]
pub struct Dev {
    /// Where its name stands.
    pub place: Place,
    /// What they are of: a source, or something made.
    pub from: TreeInput,
    /// Files or folders of it, and where in the container each lies.
    pub paths: BTreeMap<String, Spanned<String>>,
    /// What runs in the container once files were written.
    pub reload: Option<Run>,
    /// Whether one pod gets them for all.
    pub one: bool,
    /// Tasks that have to run again once files were written: what they did last is not what is there.
    pub undoes: Vec<Spanned<String>>,
}

/// `[tool.X]`
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Where its name stands.
    pub place: Place,
    /// Its version.
    pub version: Option<Spanned<String>>,
    /// Where it comes from.
    pub origin: ToolOrigin,
}

/// Where a tool comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ToolOrigin {
    /// A file of an artifact.
    Artifact {
        /// Name of the artifact.
        artifact: Spanned<String>,
        /// Path in the artifact's tree.
        path: Spanned<String>,
        /// The Go module that the artifact builds.
        go: Option<Spanned<String>>,
    },
    /// A file of an image.
    Image {
        /// Name of the image.
        image: Spanned<String>,
        /// Absolute path in it.
        path: Spanned<String>,
    },
    /// A file of HTTP, or a member of an archive.
    Url {
        /// URL; `{version}`, `{os}` and `{arch}` stand for what they say.
        url: Spanned<String>,
        /// SHA-256 of the download in lower-case hexadecimal, by platform; what is missing must be locked.
        sha256: BTreeMap<String, Spanned<String>>,
        /// Path in the archive; the file itself if none.
        member: Option<Spanned<String>>,
    },
}

/// `[node]`
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// Name of the image that is the machine's root file system.
    pub image: Spanned<String>,
    /// Images that the machine runs: what Kubernetes calls them, and their names here.
    pub images: BTreeMap<String, Spanned<String>>,
    /// Labels of the node.
    pub labels: BTreeMap<String, String>,
    /// Version of Kubernetes.
    pub version: Spanned<String>,
}
