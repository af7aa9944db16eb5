//! A program in a container that says what is there and puts into place what it is sent (agent.sh).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tbuild_kube::{Cluster, Exec};
use tbuild_realise::{OpError, message};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, Lines,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::there::There;

/// The program.
const SCRIPT: &str = include_str!("agent.sh");
/// Bytes on their way in a direction.
const BUFFER: usize = 256 << 10;
/// Bytes of standard error that are kept.
const ERRORS: usize = 64 << 10;

/// What an agent is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    /// Of the files: what its lists are called.
    pub name: String,
    /// Files and folders that are put in place.
    pub roots: Vec<String>,
    /// What runs once they are.
    pub reload: Vec<String>,
}

impl Job {
    /// The program and its arguments. Its own folder lies beside the first root, or in it where that cannot be
    /// written to.
    fn command(&self) -> Vec<String> {
        let first = self.roots.first().map_or("/", String::as_str);
        let beside = match first.rsplit_once('/') {
            Some((folder, _)) => folder.to_owned(),
            None => String::new(),
        };
        let count = self.roots.len().to_string();
        ["/bin/sh", "-c", SCRIPT, "sh", &self.name, &beside, &count]
            .into_iter()
            .chain(self.roots.iter().map(String::as_str))
            .chain(self.reload.iter().map(String::as_str))
            .map(str::to_owned)
            .collect()
    }
}

/// What is left of the connection when the program has ended: its exit status, or why nobody knows it.
type End = JoinHandle<Result<i32, OpError>>;

/// The program, running.
pub(super) struct Agent {
    /// Where.
    pub pod: String,
    /// What is there.
    pub there: There,
    to: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    from: Lines<BufReader<Box<dyn AsyncRead + Send + Sync + Unpin>>>,
    errors: Kept,
    end: End,
}

impl Agent {
    /// Starts it in a pod, and hears what is there.
    pub(super) async fn start(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        job: &Job,
    ) -> Result<Self, OpError> {
        let exec = Exec {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: None,
            command: job.command(),
            terminal: false,
        };
        let (to, stdin) = tokio::io::duplex(BUFFER);
        let (stdout, from) = tokio::io::duplex(BUFFER);
        let errors = Kept::default();
        let (cluster, stderr) = (cluster.clone(), errors.clone());
        let end = tokio::spawn(async move {
            let (_none, sizes) = mpsc::channel(1);
            let ended = cluster.exec(&exec, stdin, stdout, stderr, sizes).await;
            let outcome = ended.map_err(|error| crate::deploy::kube_failure(&error))?;
            Ok(outcome.status)
        });
        Self::over(pod, Box::new(to), Box::new(from), errors, end).await
    }

    /// Starts it on this machine.
    #[cfg(test)]
    pub(super) async fn here(job: &Job) -> Result<Self, OpError> {
        let mut command = job.command().into_iter();
        let mut child = tokio::process::Command::new(command.next().unwrap())
            .args(command)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let end = tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            Ok(status.code().unwrap_or(1))
        });
        Self::over("here", Box::new(to), Box::new(from), Kept::default(), end).await
    }

    async fn over(
        pod: &str,
        to: Box<dyn AsyncWrite + Send + Sync + Unpin>,
        from: Box<dyn AsyncRead + Send + Sync + Unpin>,
        errors: Kept,
        end: End,
    ) -> Result<Self, OpError> {
        let mut agent = Self {
            pod: pod.to_owned(),
            there: There::default(),
            to,
            from: BufReader::new(from).lines(),
            errors,
            end,
        };
        let mut link = None;
        loop {
            match agent.from.next_line().await {
                Ok(Some(line)) if line == "end" => return Ok(agent),
                Ok(Some(line)) => agent.there.line(&line, &mut link),
                Ok(None) | Err(_) => return Err(agent.ended().await),
            }
        }
    }

    /// Whether it can be asked once more.
    pub(super) fn is_alive(&self) -> bool {
        !self.end.is_finished()
    }

    /// Sends an archive, and waits until it is in place and the reload has run. What that says goes to `said`.
    pub(super) async fn put(mut self, bytes: &[u8], said: impl Fn(&str)) -> Result<Self, OpError> {
        let head = format!("put {}\n", bytes.len());
        let sent = async {
            self.to.write_all(head.as_bytes()).await?;
            self.to.write_all(bytes).await?;
            self.to.flush().await
        };
        // If it has ended, that is what is to be told.
        let _broken = sent.await;
        let mut last = String::new();
        loop {
            let Ok(Some(line)) = self.from.next_line().await else {
                return Err(self.ended().await);
            };
            if let Some(text) = line.strip_prefix("said ") {
                said(text);
                if !text.trim().is_empty() {
                    text.trim().clone_into(&mut last);
                }
            } else if let Some(status) = line.strip_prefix("done ") {
                return if status == "0" {
                    Ok(self)
                } else {
                    Err(self.failed(&last))
                };
            }
        }
    }

    fn failed(&self, said: &str) -> OpError {
        let said = if said.is_empty() {
            "it failed, and says nothing"
        } else {
            said
        };
        let error = OpError::failed_text(format!("{}: {said}", self.pod));
        if said.contains("Read-only file system") || said.contains("Permission denied") {
            error.hint("the pod's files are the image's: its chart has to give it a folder to write to (dev.enabled)")
        } else {
            error
        }
    }

    /// Why it has ended.
    async fn ended(&mut self) -> OpError {
        match (&mut self.end).await {
            Ok(Ok(_)) => {
                let text = self.errors.text();
                self.failed(text.trim())
            }
            Ok(Err(error)) => error,
            Err(error) => OpError::failed_text(format!("{}: {}", self.pod, message(&error))),
        }
    }
}

/// Takes what a program writes and keeps the beginning of it.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn text(&self) -> String {
        let bytes = self.0.lock().map(|bytes| bytes.clone());
        String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
    }
}

impl AsyncWrite for Kept {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        new: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Ok(mut bytes) = self.0.lock() {
            let room = ERRORS.saturating_sub(bytes.len()).min(new.len());
            bytes.extend_from_slice(&new[..room]);
        }
        Poll::Ready(Ok(new.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
