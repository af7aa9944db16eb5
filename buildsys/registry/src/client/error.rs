//! What goes wrong between us and a registry.

use std::error::Error;
use std::io;

use tbuild_digest::{BlobDigest, Sha256};
use tbuild_store::StoreError;

/// Why a registry could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachability {
    /// Its name is not known.
    Name,
    /// Nothing listens there.
    Refused,
    /// It does not answer in time.
    Timeout,
    /// It and we do not agree on TLS, or its certificate is not trusted.
    Tls,
    /// The connection breaks, however often it is tried.
    Broken,
}

impl std::fmt::Display for Unreachability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Name => "its name is not known",
            Self::Refused => "nothing listens there",
            Self::Timeout => "it does not answer in time",
            Self::Tls => "TLS fails",
            Self::Broken => "the connection breaks",
        })
    }
}

/// What goes wrong between us and a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The registry cannot be reached.
    #[error("cannot reach registry {registry}: {why}")]
    Unreachable {
        /// `host[:port]`.
        registry: String,
        /// In what way.
        why: Unreachability,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The registry wants a log-in, or this one may not (401, 403).
    #[error("registry {registry} denies access to {repository} (status {status}){message}")]
    Denied {
        /// `host[:port]`.
        registry: String,
        /// The repository.
        repository: String,
        /// 401 or 403.
        status: u16,
        /// What it says, after a colon, or nothing.
        message: String,
        /// Whether we came without a log-in.
        anonymous: bool,
    },
    /// The registry does not have it.
    #[error("registry {registry} does not have {what}")]
    NotFound {
        /// `host[:port]`.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// The registry answers with another failure.
    #[error("registry {registry} answers {what} with status {status}{message}")]
    Status {
        /// `host[:port]`.
        registry: String,
        /// What was asked for.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it says, after a colon, or nothing.
        message: String,
    },
    /// The registry does not speak as the specification says.
    #[error("registry {registry}: {why}")]
    Protocol {
        /// `host[:port]`.
        registry: String,
        /// What is wrong.
        why: String,
    },
    /// Bytes are not what they were promised to be.
    #[error("{what}: expected {expected}, got {actual}")]
    Mismatch {
        /// Of what.
        what: String,
        /// The digest or size promised.
        expected: String,
        /// What came.
        actual: String,
    },
    /// Larger than allowed.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// Bytes.
        limit: u64,
    },
    /// A layer that unpacks to far more than it is.
    #[error("layer {layer}: {bomb}")]
    Bomb {
        /// Its diff ID.
        layer: String,
        /// What is too much.
        bomb: tbuild_oci::Bomb,
    },
    /// A manifest, index or config that is no image's.
    #[error("{reference} is no image that can be used: {why}")]
    NotAnImage {
        /// Which.
        reference: String,
        /// Why not.
        why: String,
    },
    /// No image for the platform.
    #[error("{reference} has no image for {wanted}, only for {available}")]
    Platform {
        /// Which.
        reference: String,
        /// `os/architecture[/variant]`.
        wanted: String,
        /// What it has, comma-separated.
        available: String,
    },
    /// The log-in cannot be read.
    #[error("cannot read the log-in for registry {registry}: {why}")]
    Login {
        /// `host[:port]`.
        registry: String,
        /// Why not.
        why: String,
    },
    /// What is to be sent cannot be read, or what came cannot be written.
    #[error("cannot {what}")]
    Local {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client cannot be set up: bad proxy, bad certificate, bad address.
    #[error("cannot set up the registry client: {0}")]
    Setup(String),
}

impl RegistryError {
    /// Whether the environment is to blame, not what was asked for: exit code 3.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Denied { .. } | Self::Login { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// What may help.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreachable { registry, why, .. } => vec![unreachable_hint(registry, *why)],
            Self::Denied {
                registry,
                repository,
                anonymous,
                ..
            } => vec![if *anonymous {
                format!("log in to {registry}; no log-in was used")
            } else {
                format!("the log-in for {registry} may not do this with {repository}")
            }],
            Self::NotFound { .. } => {
                vec!["check the name and the tag; some registries say this of private images to whoever is not logged in".to_owned()]
            }
            Self::Login { .. } => {
                vec![
                    "check Docker's config.json and the credential helper that it names".to_owned(),
                ]
            }
            Self::Bomb { .. } => vec![tbuild_oci::Bomb::LAYER_HINT.to_owned()],
            Self::Status { status: 429, .. } => {
                vec!["the registry limits requests; log in, or try again later".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn local(what: impl Into<String>, source: io::Error) -> Self {
        Self::Local {
            what: what.into(),
            source,
        }
    }

    pub(super) fn digest(what: impl Into<String>, expected: &BlobDigest, actual: Sha256) -> Self {
        Self::Mismatch {
            what: what.into(),
            expected: expected.to_string(),
            actual: BlobDigest(actual).to_string(),
        }
    }

    pub(super) fn size(what: impl Into<String>, expected: u64, actual: u64) -> Self {
        Self::Mismatch {
            what: what.into(),
            expected: format!("{expected} bytes"),
            actual: format!("{actual} or more"),
        }
    }
}

fn unreachable_hint(registry: &str, why: Unreachability) -> String {
    match why {
        Unreachability::Name => {
            format!("check the name {registry:?} and this machine's name service")
        }
        Unreachability::Refused => {
            format!("start the registry at {registry}, or check the port and any firewall")
        }
        Unreachability::Timeout => {
            format!("check the route to {registry}, firewalls and proxies")
        }
        Unreachability::Tls => format!(
            "trust the certificate authority of {registry} (SSL_CERT_FILE or the system's store), or allow plain HTTP"
        ),
        Unreachability::Broken => {
            format!("check the log of {registry} and any proxy in between")
        }
    }
}

/// The causes of an error, outermost first. An IO error passes over what it wraps when asked for its source;
/// here that is a cause like any other.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |error| {
        let error = *error;
        let wrapped = error.downcast_ref::<io::Error>().and_then(|error| {
            let inner = error.get_ref()?;
            Some(inner as &(dyn Error + 'static))
        });
        wrapped.or_else(|| error.source())
    })
}

/// In what way an exchange failed.
pub(super) fn classify(error: &reqwest::Error) -> Unreachability {
    if error.is_timeout() {
        return Unreachability::Timeout;
    }
    for cause in causes(error) {
        if cause.is::<rustls::Error>() {
            return Unreachability::Tls;
        }
        match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return Unreachability::Refused,
            Some(
                io::ErrorKind::TimedOut
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable,
            ) => return Unreachability::Timeout,
            _ => {}
        }
        // The connector's own error for this has no type that could be asked.
        if cause.to_string().starts_with("dns error") {
            return Unreachability::Name;
        }
    }
    Unreachability::Broken
}

/// Whether a server speaks TLS, and it fails for another reason: its certificate, most often.
pub(super) fn speaks_tls(error: &reqwest::Error) -> bool {
    let mut tls = causes(error).filter_map(|cause| cause.downcast_ref::<rustls::Error>());
    tls.next()
        .is_some_and(|error| !matches!(error, rustls::Error::InvalidMessage(_)))
}
