//! `tbuild exec COMPONENT -- COMMAND`: a program in a component's container, without a terminal.

use tbuild_kube::Exec;

use super::inside::{execute, running, stream};
use super::status::{component, connect};
use crate::args::Global;
use crate::error::CliError;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The component of tbuild.toml
    component: String,
    /// Which container
    #[arg(long)]
    container: Option<String>,
    /// Give it standard input
    #[arg(short = 'i', long)]
    stdin: bool,
    /// In every pod of the component, one after another
    #[arg(long, conflicts_with = "stdin")]
    all: bool,
    /// What runs
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

/// Runs it; the program's exit status is the exit code, the worst of several.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let (namespace, selector) = component(&project, &arguments.component)?;
    let cluster = connect(global).await?;
    let pods = running(&cluster, &namespace, &selector, &arguments.component).await?;
    let count = if arguments.all { pods.len() } else { 1 };
    let mut worst = 0;
    for pod in pods.into_iter().take(count) {
        let exec = Exec {
            namespace: namespace.clone(),
            pod: pod.name,
            container: arguments.container.clone(),
            command: arguments.command.clone(),
            terminal: false,
        };
        let status = if arguments.stdin {
            execute(&cluster, &exec, stream(std::io::stdin())?).await?
        } else {
            execute(&cluster, &exec, tokio::io::empty()).await?
        };
        worst = worst.max(status);
    }
    Ok(worst)
}
