//! `tbuild reset COMPONENT`: its pods are started again, one after another, and it serves meanwhile if it can.

use std::time::Duration;

use tbuild_kube::WorkloadProgress;

use super::status::{component, connect, failure};
use crate::args::Global;
use crate::error::CliError;
use crate::output::line;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The components of tbuild.toml
    #[arg(required = true)]
    components: Vec<String>,
    /// Wait so many seconds at most until the new pods are ready
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let wanted: Result<Vec<_>, CliError> = arguments
        .components
        .iter()
        .map(|name| component(&project, name))
        .collect();
    let cluster = connect(global).await?;
    let mut code = 0;
    for (name, (namespace, selector)) in arguments.components.iter().zip(wanted?) {
        let workloads = cluster
            .restart(&namespace, &selector)
            .await
            .map_err(|error| failure(&error))?;
        if workloads.is_empty() {
            let what = format!(
                "no Deployment, StatefulSet or DaemonSet of {name} ({selector}) is in {namespace}"
            );
            return Err(CliError::failed(what).hint("tbuild status says what is there"));
        }
        let show = |seen: &[WorkloadProgress]| {
            for one in seen {
                line(format!(
                    "{} {} {}/{}",
                    one.kind, one.name, one.ready, one.desired
                ));
            }
        };
        let limit = Duration::from_secs(arguments.wait);
        let late = cluster
            .await_workloads(&namespace, &workloads, limit, show)
            .await
            .map_err(|error| failure(&error))?;
        for one in &late {
            line(format!(
                "{} {} is not ready after {} s",
                one.kind, one.name, arguments.wait
            ));
            code = 1;
        }
    }
    Ok(code)
}
