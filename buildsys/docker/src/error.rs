//! What goes wrong between us and a Docker Engine.

use std::error::Error as _;
use std::io;

use bollard::errors::Error;

/// What goes wrong between us and a Docker Engine.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// Nobody answers.
    #[error("cannot reach the docker engine at {host}")]
    Unreachable {
        /// Where it was looked for.
        host: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its socket is there, and not for us.
    #[error("not allowed to use the docker engine at {host}")]
    Denied {
        /// Where it is.
        host: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An address that is none, or of a kind that is not supported.
    #[error("docker host {host:?} cannot be used: {why}")]
    Host {
        /// The address.
        host: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The engine says no.
    #[error("the docker engine cannot {what}: {message}")]
    Engine {
        /// What was asked.
        what: String,
        /// What it says.
        message: String,
    },
    /// The archive to be loaded cannot be made or read.
    #[error("cannot read the image archive")]
    Archive(#[source] io::Error),
    /// This process has no thread to talk to it.
    #[error("cannot talk to the docker engine")]
    Runtime(#[source] io::Error),
}

impl DockerError {
    /// Whether the environment is to blame, not what was asked for: exit code 3.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Denied { .. })
    }

    /// What may help.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreachable { host, .. } => vec![format!(
                "start the docker engine, or say where it is (DOCKER_HOST); {host} was tried"
            )],
            Self::Denied { .. } => {
                vec!["run as root, or as a member of the group that owns the socket".to_owned()]
            }
            Self::Host { .. } => {
                vec!["use unix:///path/to/docker.sock or tcp://host:port".to_owned()]
            }
            Self::Engine { .. } | Self::Archive(_) | Self::Runtime(_) => Vec::new(),
        }
    }

    /// What an error of bollard's means.
    pub(crate) fn new(host: &str, what: impl Into<String>, error: Error) -> Self {
        let said = |message: String| Self::Engine {
            what: what.into(),
            message: message.trim().to_owned(),
        };
        match error {
            Error::DockerResponseServerError { message, .. } => said(message),
            Error::DockerStreamError { error } => said(error),
            error @ (Error::JsonDataError { .. } | Error::JsonSerdeError { .. }) => {
                said(format!("its answer is malformed ({error})"))
            }
            error if is_denied(&error) => Self::Denied {
                host: host.to_owned(),
                source: Box::new(error),
            },
            error => Self::Unreachable {
                host: host.to_owned(),
                source: Box::new(error),
            },
        }
    }
}

fn is_denied(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::PermissionDenied;
        }
        cause = error.source();
    }
    false
}
