//! One run of the helm program.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tbuild_exec::{Cancel, Stream};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::{Helm, parent};

/// How long helm has to write down that it was cancelled before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often a cancellation is looked for.
const TICK: Duration = Duration::from_millis(50);
/// What is kept of what helm said, in lines.
const KEPT: usize = 40;

/// Where helm's lines go, as they come, without their line ends.
pub type LineSink<'a> = dyn FnMut(Stream, &str) + Send + 'a;

/// Why helm did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HelmError {
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program, or its launcher.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ran and said no.
    #[error("{what}: {message}")]
    Failed {
        /// What was asked: `helm upgrade tator`.
        what: String,
        /// helm's own error.
        message: String,
        /// The last lines that it wrote, oldest first.
        lines: Vec<String>,
    },
    /// It was no longer wanted; helm has been told, and is gone.
    #[error("{0}: cancelled")]
    Cancelled(String),
    /// Its output is not what its version promises.
    #[error("{what}: cannot read its output: {problem}")]
    Output {
        /// What was asked.
        what: String,
        /// What is wrong.
        problem: String,
    },
    /// Not a version that this crate drives.
    #[error("helm {0} is too old: 3.14 or later is needed")]
    Version(String),
    /// Somebody else works on the release.
    #[error("release {release} is {status}: another client is working on it")]
    InProgress {
        /// The release.
        release: String,
        /// What helm calls its state.
        status: String,
    },
    /// A label that Kubernetes would refuse.
    #[error(
        "release label {0} is no Kubernetes label: at most 63 letters, digits, - _ . are allowed"
    )]
    Label(String),
}

/// A run's arguments and input.
pub(crate) struct Run<'a> {
    /// For messages.
    pub what: String,
    /// Arguments after the global ones.
    pub args: Vec<String>,
    /// Standard input: values go this way, never through a file or an argument list.
    pub input: Option<String>,
    /// Where each line goes as it comes.
    pub output: Option<&'a mut LineSink<'a>>,
    /// Who may stop it.
    pub cancel: Option<&'a Cancel>,
}

impl Helm {
    /// Runs helm to its end. What it wrote to standard output.
    pub(crate) async fn run(&self, mut run: Run<'_>) -> Result<String, HelmError> {
        let mut child = self.spawn(&run)?;
        let input = child.stdin.take();
        let text = run.input.take();
        let feed = tokio::spawn(async move {
            if let (Some(mut input), Some(text)) = (input, text) {
                // helm may end without reading it all; its exit says so.
                let _ = input.write_all(text.as_bytes()).await;
            }
        });

        let (lines, mut heard) = mpsc::channel(256);
        let readers = [
            child
                .stdout
                .take()
                .map(|out| tokio::spawn(read_lines(out, Stream::Stdout, lines.clone()))),
            child
                .stderr
                .take()
                .map(|err| tokio::spawn(read_lines(err, Stream::Stderr, lines.clone()))),
        ];
        drop(lines);

        let mut stdout = String::new();
        let mut kept: Vec<String> = Vec::new();
        let mut told: Option<Instant> = None;
        let mut killed = false;
        loop {
            match timeout(TICK, heard.recv()).await {
                Ok(Some((stream, line))) => {
                    if let Some(output) = run.output.as_deref_mut() {
                        output(stream, &line);
                    }
                    if stream == Stream::Stdout {
                        stdout.push_str(&line);
                        stdout.push('\n');
                    }
                    if kept.len() == KEPT {
                        kept.remove(0);
                    }
                    kept.push(line);
                }
                Ok(None) => break,
                Err(_) => {}
            }
            let cancelled = run.cancel.is_some_and(Cancel::is_cancelled);
            match told {
                None if cancelled => {
                    // helm then marks the release as failed, so that nothing is left pending.
                    signal(&child, Signal::TERM);
                    told = Some(Instant::now());
                }
                Some(since) if since.elapsed() > GRACE && !killed => {
                    signal(&child, Signal::KILL);
                    killed = true;
                }
                _ => {}
            }
        }
        let status = wait(&mut child, run.cancel, &mut told).await;
        for reader in readers.into_iter().flatten() {
            let _ = reader.await;
        }
        feed.abort();
        let status = status.map_err(|source| HelmError::Start {
            program: self.program_name(),
            source,
        })?;
        if told.is_some() && !status.success() {
            return Err(HelmError::Cancelled(run.what));
        }
        if status.success() {
            Ok(stdout)
        } else {
            Err(failure(run.what, status, kept))
        }
    }

    fn spawn(&self, run: &Run<'_>) -> Result<Child, HelmError> {
        let mut argv: Vec<String> = self.launcher.clone();
        argv.push(self.program_name());
        let program = argv.remove(0);
        let mut command = Command::new(&program);
        command
            .args(argv)
            .args(&run.args)
            .env_clear()
            .envs(&self.env);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        if let Some(context) = &self.kube_context {
            command.env("HELM_KUBECONTEXT", context);
        }
        command
            .stdin(if run.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        parent::spawn(command).map_err(|source| HelmError::Start { program, source })
    }
}

/// Waits for a child whose output has ended; a cancellation may come this late as well.
async fn wait(
    child: &mut Child,
    cancel: Option<&Cancel>,
    told: &mut Option<Instant>,
) -> std::io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            () = sleep(TICK) => {}
        }
        match told {
            None if cancel.is_some_and(Cancel::is_cancelled) => {
                signal(child, Signal::TERM);
                *told = Some(Instant::now());
            }
            Some(since) if since.elapsed() > GRACE => signal(child, Signal::KILL),
            _ => {}
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
        // It may have ended this very moment.
        let _ = kill_process(pid, signal);
    }
}

async fn read_lines(
    from: impl AsyncRead + Unpin,
    stream: Stream,
    to: mpsc::Sender<(Stream, String)>,
) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while matches!(from.read_until(b'\n', &mut line).await, Ok(read) if read > 0) {
        while matches!(line.last(), Some(b'\n' | b'\r')) {
            line.pop();
        }
        if to
            .send((stream, String::from_utf8_lossy(&line).into_owned()))
            .await
            .is_err()
        {
            return;
        }
        line.clear();
    }
}

/// helm ends with one `Error: ...`, which may go on over the lines that follow.
fn failure(what: String, status: ExitStatus, lines: Vec<String>) -> HelmError {
    let message = lines
        .iter()
        .rposition(|line| line.starts_with("Error: "))
        .map_or_else(
            || match lines.iter().rev().find(|line| !line.trim().is_empty()) {
                Some(line) => format!("{status}, after: {line}"),
                None => status.to_string(),
            },
            |at| {
                lines[at..]
                    .join("\n")
                    .trim_start_matches("Error: ")
                    .trim_end()
                    .to_owned()
            },
        );
    HelmError::Failed {
        what,
        message,
        lines,
    }
}
