//! Instructions with nothing left to expand.

use std::collections::BTreeMap;

use crate::{Chmod, ConcreteMount, CopySource, Remote};

/// One instruction with nothing left to expand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concrete {
    /// RUN.
    Run(ConcreteRun),
    /// COPY and ADD.
    Copy(ConcreteCopy),
    /// ENV, in order.
    Env(Vec<(String, String)>),
    /// LABEL, in order.
    Label(Vec<(String, String)>),
    /// WORKDIR: an absolute path, as the config says it. The folder that it comes to ([`crate::clean_path`]) is
    /// made where it is missing.
    Workdir(String),
    /// USER, as written: `user[:group]` by name or number.
    User(String),
    /// CMD: program and arguments, the shell in front where the shell form was used.
    Cmd(Vec<String>),
    /// ENTRYPOINT, likewise. It also clears CMD unless `keeps_cmd`: this stage has set one already.
    Entrypoint {
        /// Program and arguments.
        argv: Vec<String>,
        /// Whether CMD stays.
        keeps_cmd: bool,
    },
    /// EXPOSE: `port/protocol`, each.
    Expose(Vec<String>),
    /// VOLUME.
    Volume(Vec<String>),
    /// HEALTHCHECK.
    Healthcheck(ConcreteHealthcheck),
    /// SHELL.
    Shell(Vec<String>),
    /// STOPSIGNAL.
    StopSignal(String),
    /// ARG: each name with its value, if it has one. Nothing to do: the scope keeps them.
    Arg(Vec<(String, Option<String>)>),
    /// MAINTAINER: the image's author.
    Maintainer(String),
    /// ONBUILD: what a build that starts from this stage or image does first.
    Onbuild(String),
}

/// RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcreteRun {
    /// Program and arguments, the shell in front where the shell form was used.
    pub argv: Vec<String>,
    /// The environment: the base's and the stage's ENV and every ARG declared so far that has a value.
    pub env: BTreeMap<String, String>,
    /// The part of `env` that is ARG and not ENV.
    pub args: BTreeMap<String, String>,
    /// Proxy variables that were given as build arguments without being declared: RUN sees them, and they are
    /// no part of what it depends on.
    pub proxy: BTreeMap<String, String>,
    /// A here-document that starts with `#!`: a file that is there, read-only and executable, while it runs.
    pub script: Option<InlineFile>,
    /// What is mounted while it runs, in the order in which it is mounted: by target.
    pub mounts: Vec<ConcreteMount>,
    /// `--network`.
    pub network: RunNetwork,
    /// `--security=insecure`: it runs with all that the builder may.
    pub insecure: bool,
}

/// Which network RUN asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunNetwork {
    /// That of the build.
    #[default]
    Default,
    /// Loopback alone.
    None,
    /// That of the machine.
    Host,
}

/// A file whose content stands in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineFile {
    /// For RUN its absolute path; for COPY its name.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// COPY and ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcreteCopy {
    /// Whether it is ADD: the only one that takes what is not a file.
    pub add: bool,
    /// Whether sources that are tar archives are unpacked: paths for ADD, URLs only as `--unpack` asks.
    pub unpack: Unpack,
    /// Where the sources come from that are paths.
    pub from: CopySource,
    /// The sources, in order.
    pub sources: Vec<Source>,
    /// Files that stand in the Dockerfile itself, mode 0644; they come after the sources.
    pub heredocs: Vec<InlineFile>,
    /// Absolute path; ends in a slash where it must be a folder.
    pub dest: String,
    /// `user[:group]` by name or number.
    pub chown: Option<String>,
    /// The permissions of all that is copied.
    pub chmod: Option<ChmodText>,
    /// Whether the files land on nothing: links and folders of the layers below do not count.
    pub link: bool,
    /// Patterns of what is left out, relative to each source, as in .dockerignore but for a leading slash.
    pub exclude: Vec<String>,
    /// What the one source, which is remote, has to be: `sha256:…` of a file, a commit of a repository.
    pub checksum: Option<String>,
}

/// Which archives are unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpack {
    /// Those that are paths.
    pub paths: bool,
    /// Those that come from URLs.
    pub urls: bool,
}

/// `--chmod` with the text it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChmodText {
    /// As written.
    pub text: String,
    /// What it means.
    pub chmod: Chmod,
}

/// One source of COPY and ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path.
    Path(PathSource),
    /// A URL or a repository.
    Remote(Remote),
}

/// A source that is a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSource {
    /// Below the source's root, absolute and clean, possibly with wildcards of [`crate::glob_matches`].
    pub path: String,
    /// `--parents`: what is taken of the folder `path`, as a pattern of .dockerignore without leading slash, with
    /// all folders on the way.
    pub below: Option<String>,
}

/// HEALTHCHECK. Times are nanoseconds; 0 means the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcreteHealthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", line]`.
    pub test: Vec<String>,
    /// Between checks.
    pub interval: u64,
    /// For one check.
    pub timeout: u64,
    /// In which failures do not count.
    pub start_period: u64,
    /// Between checks in the start period.
    pub start_interval: u64,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}
