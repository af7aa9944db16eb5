//! Programs in a component's containers, for the commands that run some.

use std::io::IsTerminal as _;

use tbuild_config::Command;
use tbuild_kube::{Cluster, Exec, PodView};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;

use super::ask;
use super::status::{component, connect, failure};
use crate::args::Global;
use crate::error::CliError;
use crate::project::Project;

/// The pods of a component that run, those that serve first, the newest first.
pub async fn running(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
    name: &str,
) -> Result<Vec<PodView>, CliError> {
    let pods = cluster
        .pods(namespace, selector)
        .await
        .map_err(|error| failure(&error))?;
    let mut running: Vec<PodView> = pods
        .into_iter()
        .rev()
        .filter(|pod| pod.phase == "Running")
        .collect();
    running.sort_by_key(|pod| !pod.ready);
    if running.is_empty() {
        return Err(
            CliError::failed(format!("no pod of {name} runs in {namespace}"))
                .hint("tbuild status says what is wrong"),
        );
    }
    Ok(running)
}

/// A standard stream, unbuffered and off the async threads.
pub fn stream(of: impl std::os::fd::AsFd) -> Result<tokio::fs::File, CliError> {
    let own = rustix::io::dup(of).map_err(|error| CliError::internal(&error))?;
    Ok(tokio::fs::File::from_std(std::fs::File::from(own)))
}

/// Runs a program without a terminal; what it writes goes to ours. Its exit status.
pub async fn execute(
    cluster: &Cluster,
    exec: &Exec,
    stdin: impl AsyncRead + Unpin + Send,
) -> Result<u8, CliError> {
    let (_none, sizes) = mpsc::channel(1);
    let (stdout, stderr) = (stream(std::io::stdout())?, stream(std::io::stderr())?);
    let outcome = cluster
        .exec(exec, stdin, stdout, stderr, sizes)
        .await
        .map_err(|error| failure(&error))?;
    Ok(u8::try_from(outcome.status).unwrap_or(1))
}

/// Runs a `[command.X]` that names a component, with `more` arguments.
pub async fn command(
    global: &Global,
    project: &Project,
    command: &Command,
    more: &[String],
) -> Result<u8, CliError> {
    let name = command.component.as_ref().map_or("", |name| &name.value);
    let (namespace, selector) = component(project, name)?;
    let mut secrets = String::new();
    for secret in &command.secrets {
        let value = match std::env::var(&secret.value) {
            Ok(value) if !value.is_empty() => value,
            _ if std::io::stdin().is_terminal() => ask::secret(&secret.value)?,
            _ => {
                return Err(CliError::usage(format!("{} is not set", secret.value))
                    .hint("it is read from the environment where nobody can be asked"));
            }
        };
        if value.contains('\n') {
            return Err(CliError::usage(format!(
                "{} is more than a line",
                secret.value
            )));
        }
        secrets.push_str(&value);
        secrets.push('\n');
    }
    let cluster = connect(global).await?;
    let pods = running(&cluster, &namespace, &selector, name).await?;
    let mut argv = command.run.argv();
    if matches!(command.run, tbuild_config::Run::Shell(_)) && !more.is_empty() {
        argv.push("sh".to_owned());
    }
    argv.extend(more.iter().cloned());
    if !secrets.is_empty() {
        // Secrets come over standard input: neither an argument nor an object of the cluster shows them.
        let read: Vec<String> = command
            .secrets
            .iter()
            .map(|secret| format!("IFS= read -r {0} && export {0}", secret.value))
            .collect();
        let script = format!("{} && exec \"$@\"", read.join(" && "));
        let shell = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
        argv = shell.into_iter().chain(argv).collect();
    }
    let exec = Exec {
        namespace,
        pod: pods[0].name.clone(),
        container: None,
        command: argv,
        terminal: false,
    };
    execute(&cluster, &exec, std::io::Cursor::new(secrets.into_bytes())).await
}
