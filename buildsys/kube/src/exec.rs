//! A program run in a container.

use futures::SinkExt as _;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, TerminalSize as KubeTerminalSize};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::{Cluster, KubeError};

/// What a terminal takes for the end of input at the start of a line (POSIX, "Special Characters", EOF).
const END_OF_TRANSMISSION: u8 = 4;

/// A program to be run in a container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Where.
    pub namespace: String,
    /// In which pod.
    pub pod: String,
    /// In which of its containers; its only one where none.
    pub container: Option<String>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal: then its standard error comes with its standard output.
    pub terminal: bool,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// How a program in a container ended: its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecOutcome {
    /// 0 is success.
    pub status: i32,
}

impl Cluster {
    /// Runs a program and waits for its end. What `stdin` gives goes to it, what it writes to `stdout` and
    /// `stderr`; `sizes` tells the terminal's size, first and at each change. Whose terminal that is, and in
    /// which mode, is the caller's business.
    pub async fn exec(
        &self,
        exec: &Exec,
        stdin: impl AsyncRead + Unpin + Send,
        mut stdout: impl AsyncWrite + Unpin + Send,
        mut stderr: impl AsyncWrite + Unpin + Send,
        mut sizes: mpsc::Receiver<TerminalSize>,
    ) -> Result<ExecOutcome, KubeError> {
        let action = format!("run {:?} in {}/{}", exec.command, exec.namespace, exec.pod);
        let mut parameters = AttachParams::default()
            .stdin(true)
            .stdout(true)
            .stderr(!exec.terminal)
            .tty(exec.terminal);
        if let Some(container) = &exec.container {
            parameters = parameters.container(container);
        }
        let pods = self.namespaced::<Pod>(&exec.namespace);
        let command = exec.command.iter().map(String::as_str);
        let mut process = self
            .ask(&action, pods.exec(&exec.pod, command, &parameters))
            .await?;
        let input = process.stdin();
        let output = process.stdout();
        let errors = process.stderr();
        let resize = process.terminal_size();
        let status = process.take_status();
        let send = async {
            let (mut stdin, Some(mut input)) = (stdin, input) else {
                return;
            };
            // A program that takes no input any more may run on.
            let _ = tokio::io::copy(&mut stdin, &mut input).await;
            // A terminal whose other end closes hangs up on its program: its input ends by a character.
            if exec.terminal {
                let _ = input.write_all(&[END_OF_TRANSMISSION]).await;
            } else {
                let _ = input.shutdown().await;
            }
            std::future::pending::<()>().await;
        };
        let send_sizes = async {
            if let Some(mut resize) = resize {
                while let Some(size) = sizes.recv().await {
                    let TerminalSize { width, height } = size;
                    if resize
                        .send(KubeTerminalSize { width, height })
                        .await
                        .is_err()
                    {
                        break;
                    }
                }
            }
            std::future::pending::<()>().await;
        };
        let receive = async {
            let out = async {
                if let Some(mut output) = output {
                    tokio::io::copy(&mut output, &mut stdout).await?;
                }
                stdout.flush().await
            };
            let err = async {
                if let Some(mut errors) = errors {
                    tokio::io::copy(&mut errors, &mut stderr).await?;
                }
                stderr.flush().await
            };
            tokio::try_join!(out, err)
        };
        let received = tokio::select! {
            received = receive => received,
            () = send => Ok(((), ())),
            () = send_sizes => Ok(((), ())),
        };
        received.map_err(|error| KubeError::Protocol {
            action: action.clone(),
            source: Box::new(error),
        })?;
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        outcome(&action, status.as_ref())
    }
}

/// Reads the exit status out of what the API server says at the end (its remote command protocol, version 4).
fn outcome(action: &str, status: Option<&Status>) -> Result<ExecOutcome, KubeError> {
    let refused = |message: &str| KubeError::Refused {
        action: action.to_owned(),
        code: status
            .and_then(|status| status.code)
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(0),
        message: message.to_owned(),
    };
    let Some(status) = status else {
        return Err(refused("the connection ended before the program"));
    };
    if status.status.as_deref() == Some("Success") {
        return Ok(ExecOutcome { status: 0 });
    }
    let details = status.details.as_ref();
    let causes = details.and_then(|details| details.causes.as_ref());
    let exit_code = causes.into_iter().flatten().find_map(|cause| {
        let is_exit_code = cause.reason.as_deref() == Some("ExitCode");
        cause
            .message
            .as_ref()
            .filter(|_| is_exit_code)?
            .parse()
            .ok()
    });
    exit_code
        .map(|status| ExecOutcome { status })
        .ok_or_else(|| refused(status.message.as_deref().unwrap_or("it could not be run")))
}
