//! Why a cluster cannot be asked or does not do as asked.

use std::path::PathBuf;
use std::time::Duration;

use kube::config::KubeconfigError;

/// Why a cluster cannot be asked or does not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum KubeError {
    /// No kubeconfig was given.
    #[error("no kubeconfig names a cluster")]
    NoKubeconfig,
    /// A kubeconfig cannot be read.
    #[error("kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// A kubeconfig does not say how to reach a cluster.
    #[error("context {context:?} of the kubeconfig")]
    Context {
        /// The context asked for; empty for the current one.
        context: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server does not answer.
    #[error("cluster {url} is unreachable, to {action}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What was to be done.
        action: String,
        /// Why not.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server does not answer in time.
    #[error("cluster {url} did not answer within {} s, to {action}", after.as_secs())]
    Slow {
        /// Where it is.
        url: String,
        /// What was to be done.
        action: String,
        /// How long was waited.
        after: Duration,
    },
    /// The API server answered with an error.
    #[error("cannot {action}: {message}")]
    Refused {
        /// What was to be done.
        action: String,
        /// HTTP status.
        code: u16,
        /// What it said.
        message: String,
    },
    /// An answer, or what was to be sent, is not what it should be.
    #[error("cannot {action}")]
    Protocol {
        /// What was to be done.
        action: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A manifest is not a Job's.
    #[error("not a Job's manifest: {0}")]
    Manifest(String),
    /// A thing that was to be there is not.
    #[error("{what} is not there")]
    Missing {
        /// What, with its namespace.
        what: String,
    },
}

impl KubeError {
    /// Whether it is the environment that fails, not what was asked of it: exit code 3.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::NoKubeconfig
                | Self::Kubeconfig { .. }
                | Self::Context { .. }
                | Self::Unreachable { .. }
                | Self::Slow { .. }
        )
    }

    /// Sorts a client's error.
    pub(crate) fn of(url: &str, action: &str, error: kube::Error) -> Self {
        let action = action.to_owned();
        match error {
            kube::Error::Api(status) => Self::Refused {
                action,
                code: status.code,
                message: if status.message.is_empty() {
                    status.reason.clone()
                } else {
                    status.message.clone()
                },
            },
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::Auth(_) => {
                Self::Unreachable {
                    url: url.to_owned(),
                    action,
                    source: Box::new(error),
                }
            }
            error => Self::Protocol {
                action,
                source: Box::new(error),
            },
        }
    }
}
