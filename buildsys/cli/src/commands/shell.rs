//! `tbuild shell COMPONENT [-- COMMAND]`: a program in a component's container, on this terminal.

use std::io::IsTerminal as _;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tbuild_kube::{Exec, TerminalSize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::inside::{running, stream};
use super::status::{component, connect, failure};
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
    /// What runs [default: bash, or sh]
    #[arg(last = true)]
    command: Vec<String>,
}

/// A terminal in raw mode, put back when dropped.
struct Raw(Termios);

impl Raw {
    fn new() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _gone = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdin()).ok()?;
    Some(TerminalSize {
        width: size.ws_col,
        height: size.ws_row,
    })
}

/// Runs it; the program's exit status is the exit code.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let (namespace, selector) = component(&project, &arguments.component)?;
    let cluster = connect(global).await?;
    let pods = running(&cluster, &namespace, &selector, &arguments.component).await?;
    let command = if arguments.command.is_empty() {
        [
            "/bin/sh",
            "-c",
            "command -v bash >/dev/null && exec bash || exec sh",
        ]
        .map(str::to_owned)
        .to_vec()
    } else {
        arguments.command.clone()
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let exec = Exec {
        namespace,
        pod: pods[0].name.clone(),
        container: arguments.container.clone(),
        command,
        terminal,
    };
    let (sender, sizes) = mpsc::channel(4);
    let raw = if terminal { Raw::new() } else { None };
    if terminal && let Ok(mut resized) = signal(SignalKind::window_change()) {
        #[expect(clippy::let_underscore_future, reason = "it ends with the program")]
        let _ = tokio::spawn(async move {
            loop {
                if let Some(size) = size()
                    && sender.send(size).await.is_err()
                {
                    break;
                }
                if resized.recv().await.is_none() {
                    break;
                }
            }
        });
    }
    let (stdout, stderr) = (stream(std::io::stdout())?, stream(std::io::stderr())?);
    let ended = if std::io::stdin().is_terminal() && !terminal {
        // Output goes to a file or a pipe: the terminal is not the program's input.
        cluster
            .exec(&exec, tokio::io::empty(), stdout, stderr, sizes)
            .await
    } else {
        cluster
            .exec(&exec, stream(std::io::stdin())?, stdout, stderr, sizes)
            .await
    };
    drop(raw);
    let outcome = ended.map_err(|error| failure(&error))?;
    Ok(u8::try_from(outcome.status).unwrap_or(1))
}
