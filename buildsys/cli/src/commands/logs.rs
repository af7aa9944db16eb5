//! `tbuild logs [COMPONENT...]`: what components' containers write.

use std::io::Write as _;

use futures::future::select_all;
use tbuild_kube::{LogLine, LogRequest};

use super::status::{component, connect, failure};
use crate::args::Global;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The components of tbuild.toml [default: all]
    components: Vec<String>,
    /// Wait for what comes
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines of each container
    #[arg(long, value_name = "N")]
    tail: Option<u64>,
    /// Only what is not older than so much time, such as 90s, 10m or 2h
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// What was written before the containers were last started again
    #[arg(short, long, conflicts_with = "follow")]
    previous: bool,
    /// Only this container
    #[arg(short, long)]
    container: Option<String>,
}

/// Seconds that a length of time has.
fn seconds(text: &str) -> Result<u64, CliError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if plain {
        format!("{text}s")
    } else {
        text.to_owned()
    };
    match tbuild_dockerfile::parse_duration(&text) {
        Some(nanoseconds) if nanoseconds > 0 => Ok(nanoseconds.div_ceil(1_000_000_000)),
        _ => Err(CliError::usage(format!("{text:?} is not a length of time"))
            .hint("such as 90s, 10m or 2h")),
    }
}

/// Prints a line; false when its reader went away.
fn print(one: &LogLine) -> bool {
    writeln!(std::io::stdout().lock(), "{} {}", one.pod, one.text).is_ok()
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let named = !arguments.components.is_empty();
    let names: Vec<String> = if named {
        arguments.components.clone()
    } else {
        project.config.components.keys().cloned().collect()
    };
    let wanted: Result<Vec<_>, CliError> =
        names.iter().map(|name| component(&project, name)).collect();
    let wanted = wanted?;
    let request = LogRequest {
        container: arguments.container.clone(),
        tail: arguments.tail,
        since: arguments.since.as_deref().map(seconds).transpose()?,
        previous: arguments.previous,
        follow: arguments.follow,
    };
    let cluster = connect(global).await?;
    if arguments.follow {
        let all = wanted.iter().map(|(namespace, selector)| {
            Box::pin(cluster.logs(namespace, selector, &request, |one| print(&one)))
        });
        // The first that ends has nobody to print to any more, or cannot go on.
        let (ended, ..) = select_all(all).await;
        return ended.map(|()| 0).map_err(|error| failure(&error));
    }
    for (namespace, selector) in &wanted {
        match cluster
            .logs(namespace, selector, &request, |one| print(&one))
            .await
        {
            // Not every component is deployed everywhere.
            Err(tbuild_kube::KubeError::Missing { .. }) if !named => {}
            ended => ended.map_err(|error| failure(&error))?,
        }
    }
    Ok(0)
}
