//! `tbuild logs COMPONENT`: what a component's containers write.

use tbuild_kube::{LogLine, LogRequest};

use super::status::{component, connect, failure};
use crate::args::Global;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component of tbuild.toml
    component: String,
    /// Wait for what comes
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Only this container
    #[arg(long)]
    container: Option<String>,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let (namespace, selector) = component(&project, &arguments.component)?;
    let cluster = connect(global).await?;
    let request = LogRequest {
        container: arguments.container.clone(),
        tail: arguments.tail,
        follow: arguments.follow,
    };
    let print = |one: LogLine| {
        use std::io::Write as _;
        // A reader that went away ends it quietly.
        writeln!(std::io::stdout().lock(), "{} {}", one.pod, one.text).is_ok()
    };
    cluster
        .logs(&namespace, &selector, &request, print)
        .await
        .map_err(|error| failure(&error))?;
    Ok(0)
}
