//! `tbuild backup` and `tbuild restore`: the tasks of these names, run now.

use serde_json::json;
use tbuild_config::JsonMap;

use super::ask::ask;
use super::task::{Said, again};
use crate::args::Global;
use crate::error::CliError;

/// The command of tbuild.toml that lists backups.
const LIST: &str = "backups";

/// Arguments of `tbuild backup`.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// Show the backups that there are, by [command.backups]
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    said: Said,
}

/// Runs `[task.backup]`.
pub async fn backup(global: &Global, arguments: &Backup) -> Result<u8, CliError> {
    if arguments.list {
        return super::target::command(global, LIST, &[]).await;
    }
    again(global, "backup", &arguments.said, JsonMap::new()).await
}

/// Arguments of `tbuild restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The backup, as `tbuild backup --list` names it; `latest` is the newest
    #[arg(required_unless_present = "discard")]
    name: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Remove what restores have kept of what was there before
    #[arg(long, conflicts_with = "name")]
    discard: bool,
    #[command(flatten)]
    said: Said,
}

/// Runs `[task.restore]`.
pub async fn restore(global: &Global, arguments: &Restore) -> Result<u8, CliError> {
    let (question, parameter) = match &arguments.name {
        Some(name) => (
            format!("Put the backup {name} in the place of what is there now (which is kept)?"),
            ("name", json!(name)),
        ),
        None => (
            "Remove what restores have kept of what was there before?".to_owned(),
            ("discard", json!("yes")),
        ),
    };
    if !ask(&question, arguments.yes, "tbuild restore")? {
        return Ok(1);
    }
    let more = JsonMap::from_iter([(parameter.0.to_owned(), parameter.1)]);
    again(global, "restore", &arguments.said, more).await
}
