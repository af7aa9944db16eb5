//! Why a file could not be had.

use tbuild_digest::BlobDigest;
use tbuild_store::StoreError;

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or it broke and stayed broken.
    #[error("cannot reach {host} for {url}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What was asked for.
        url: String,
        /// Why not.
        #[source]
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Other bytes than promised.
    #[error("{url} has SHA-256 {actual}, but {expected} was expected")]
    Digest {
        /// What was asked for.
        url: String,
        /// What was promised.
        expected: BlobDigest,
        /// What came.
        actual: BlobDigest,
    },
    /// More or fewer bytes than promised.
    #[error("{url} has {actual} bytes, but {expected} were expected")]
    Size {
        /// What was asked for.
        url: String,
        /// What was promised.
        expected: u64,
        /// What came, or was announced.
        actual: u64,
    },
    /// A document larger than it may be.
    #[error("{url} has more than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: u64,
    },
    /// No URL at all.
    #[error("{0} has no URL")]
    Nowhere(String),
    /// The URL cannot be used.
    #[error("{url} is no URL to fetch")]
    Url {
        /// The text.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The client could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
    /// The store would not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread that writes to the store ended early.
    #[error("writing {url} to the store was interrupted")]
    Interrupted {
        /// What was being written.
        url: String,
    },
}

impl HttpError {
    /// Whether trying again may help.
    pub(super) fn transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// Whether another mirror may do better.
    pub(super) fn mirror_specific(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Status { .. }
                | Self::Digest { .. }
                | Self::Size { .. }
        )
    }

    /// Classifies what the client library reports.
    pub(super) fn from_reqwest(url: &str, source: reqwest::Error) -> Self {
        let url = redact(url);
        let source = source.without_url();
        if source.is_builder() || source.is_redirect() {
            return Self::Url { url, source };
        }
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = rest.split('/').next().unwrap_or_default().to_owned();
        Self::Unreachable { host, url, source }
    }
}

/// A URL without the password that it may carry.
pub fn redact(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{path}"),
        None => url.to_owned(),
    }
}
