//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Builds images and a chart with content-hashed caching, pushes them, and deploys them: one graph, no daemon.
///
/// With no command, realises the named targets (images, charts, artifacts, releases, tasks, or targets of
/// tbuild.toml), or the project's default.
#[derive(Debug, Parser)]
#[command(
    name = "tbuild",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What to realise.
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,

    /// Arguments for a [command.NAME] of tbuild.toml.
    #[arg(last = true, value_name = "ARGS", hide = true)]
    pub rest: Vec<String>,

    /// Options that every command has.
    #[command(flatten)]
    pub global: Global,
}

/// Options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub struct Global {
    /// Run at most N nodes at once [default: cores]
    #[arg(short = 'j', long, value_name = "N", global = true)]
    pub jobs: Option<usize>,
    /// Go on with what does not depend on a failure
    #[arg(short = 'k', long, global = true)]
    pub keep_going: bool,
    /// Say what would run, and run nothing
    #[arg(short = 'n', long, global = true)]
    pub dry_run: bool,
    /// Say for each node that runs why it does
    #[arg(long, global = true)]
    pub why: bool,
    /// Work in this folder
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// The configuration [default: tbuild.toml here or in a folder above]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Apply [profile.NAME]; may be repeated
    #[arg(long, value_name = "NAME", global = true)]
    pub profile: Vec<String>,
    /// Override one value: release.tator.timeout=5m
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
    /// Take a source from a folder
    #[arg(long, value_name = "NAME=PATH", global = true)]
    pub source: Vec<String>,
    /// Where blobs and results are kept [default: $XDG_CACHE_HOME/tbuild]
    #[arg(long, value_name = "DIR", global = true, env = "TBUILD_STORE")]
    pub store: Option<PathBuf>,
    /// Refuse to connect to anything outside
    #[arg(long, global = true)]
    pub offline: bool,
    /// Refuse to write lockfiles
    #[arg(long, global = true)]
    pub frozen: bool,
    /// What runs steps; their bytes and keys are the same
    #[arg(long, value_name = "NAME", global = true, value_enum, default_value_t = Runner::Sandbox)]
    pub executor: Runner,
    /// How progress is shown
    #[arg(long, value_name = "HOW", global = true, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// One event a line on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Whether a user namespace was entered: tbuild is root there alone
    #[arg(skip)]
    pub rootless: bool,
    /// Whether layers are unpacked in memory, since the store's file system cannot hold them
    #[arg(skip)]
    pub in_memory: bool,
    /// Colours
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}

impl Global {
    /// The same for a command whose result is one document: with `--json` no events stand before it.
    #[must_use]
    pub fn for_document(&self) -> Self {
        let mut own = self.clone();
        if std::mem::take(&mut own.json) {
            own.progress = Progress::Quiet;
        }
        own
    }
}

/// What runs steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runner {
    /// Namespaces of tbuild's own.
    Sandbox,
    /// The OCI runtime of that name.
    Crun,
    /// Containers of a Docker Engine on this machine (`DOCKER_HOST`); as root.
    Docker,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A live view on a terminal, a plain log elsewhere.
    Auto,
    /// The live view.
    Tty,
    /// A line for each thing that happens.
    Plain,
    /// One JSON object a line on standard output.
    Json,
    /// Failures only.
    Quiet,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// The commands, one file each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Images, chart, push, release, migrate, collect-static
    Cluster(commands::cluster::Arguments),
    /// Build any Dockerfile, with docker build's flags
    Build(commands::build::Arguments),
    /// Build one image of tbuild.toml
    Image(commands::image::Arguments),
    /// Make one artifact of tbuild.toml
    Artifact(commands::artifact::Arguments),
    /// Package one chart of tbuild.toml
    Chart(commands::chart::Arguments),
    /// Show what would happen
    Plan(commands::plan::Arguments),
    /// Say why a node runs, or ran
    Why(commands::why::Arguments),
    /// Show where two images differ
    Diff(commands::diff::Arguments),
    /// Build something twice in different surroundings, and compare
    Verify(commands::verify::Arguments),
    /// Show the graph
    Graph(commands::graph::Arguments),
    /// Show what a node printed when it last ran
    Log(commands::log::Arguments),
    /// Write what names resolve to into lockfiles/
    Lock(commands::lock::Arguments),
    /// Show what is newer than what is locked
    Outdated(commands::outdated::Arguments),
    /// What targets need in one file, for machines without a network
    Bundle(commands::bundle::Arguments),
    /// A registry that answers from the store
    Registry(commands::registry::Arguments),
    /// Make room in the store: what is deployed, tagged or was used lately stays
    Gc(commands::gc::Arguments),
    /// The store: how large it is
    Store(commands::store::Arguments),
    /// Run a tool of tbuild.toml
    Tool(commands::tool::Arguments),
    /// The state of the deployed release
    Status(commands::status::Arguments),
    /// The logs of a component
    Logs(commands::logs::Arguments),
    /// A shell in a component's container
    Shell(commands::shell::Arguments),
    /// A program in a component's container, without a terminal
    Exec(commands::exec::Arguments),
    /// What has changed of sources, and of what is made of them, into pods that run
    DevPush(commands::dev_push::Arguments),
    /// Start a component's pods again, one after another
    Reset(commands::reset::Arguments),
    /// Go back to what an earlier revision of a release held
    Rollback(commands::rollback::Arguments),
    /// Run a task of tbuild.toml now
    Run(commands::task::Arguments),
    /// Run the task migrate now: bring the database to what the site needs
    Migrate(commands::migrate::Arguments),
    /// Run the task collect-static now: publish the static files
    CollectStatic(commands::migrate::Arguments),
    /// Back up the data of the deployed site, or list the backups
    Backup(commands::backup::Backup),
    /// Put a backup in the place of the data
    Restore(commands::backup::Restore),
    /// Make a user who may do everything
    Superuser(commands::superuser::Arguments),
    /// Remove what a release deployed; data only as asked
    Clean(commands::clean::Arguments),
    /// A real one-node Kubernetes on this machine
    Node(commands::node::Arguments),
    /// Look at this machine: what tbuild needs, and what to do where it is missing
    Doctor(commands::doctor::Arguments),
    /// Write a shell's completion script
    Completions(commands::completions::Arguments),
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{Cli, Command};

    fn read(arguments: &[&str]) -> Cli {
        let all = std::iter::once(&"tbuild").chain(arguments);
        Cli::try_parse_from(all).expect("it is understood")
    }

    #[test]
    fn a_value_may_be_called_as_a_command_is() {
        let cli = read(&["--store", "store", "-C", "build", "doctor"]);
        assert!(matches!(cli.command, Some(Command::Doctor(_))));
        assert_eq!(cli.global.store.as_deref(), Some("store".as_ref()));
    }

    #[test]
    fn after_a_target_come_targets() {
        let cli = read(&["nginx", "cluster"]);
        assert!(cli.command.is_none());
        assert_eq!(cli.targets, ["nginx", "cluster"]);
    }
}
