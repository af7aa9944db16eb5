//! How the client behaves; all of it given, none of it read from the process.

use std::path::PathBuf;
use std::time::Duration;

/// How the client behaves.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Who logs in.
    pub credentials: Credentials,
    /// When to do without TLS.
    pub plain_http: PlainHttp,
    /// How often in a row a failure that may pass is tried again: a connection that cannot be made or breaks,
    /// 429, 5xx. Never another 4xx.
    pub retries: u32,
    /// The wait before the first retry; it doubles each time. What a server asks for (`Retry-After`) counts
    /// instead, up to a minute.
    pub backoff: Duration,
    /// How many blobs of one image travel at a time.
    pub parallel: usize,
    /// A PEM bundle that replaces the platform's trust store.
    pub ca_file: Option<PathBuf>,
    /// A hashed folder of certificates that replaces the platform's trust store.
    pub ca_dir: Option<PathBuf>,
    /// Proxies; never asked for private addresses.
    pub proxies: Proxies,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is awaited or read. A registry that has been sent a blob gets five
    /// times as long: it may look at every byte again before it answers.
    pub read_timeout: Duration,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::Anonymous,
            plain_http: PlainHttp::Auto,
            retries: 4,
            backoff: Duration::from_millis(250),
            parallel: 4,
            ca_file: None,
            ca_dir: None,
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
        }
    }
}

/// Who logs in.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody.
    #[default]
    Anonymous,
    /// What Docker's `config.json` at this path says, credential helpers included (they are run when a
    /// registry asks for a log-in). A file that is not there is nobody.
    DockerConfig(PathBuf),
    /// This user, at every registry.
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: String,
    },
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::DockerConfig(path) => f.debug_tuple("DockerConfig").field(path).finish(),
            // Debug output ends up in logs.
            Self::Password { user, .. } => f.debug_tuple("Password").field(user).finish(),
        }
    }
}

/// When to do without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlainHttp {
    /// Where the registry is a loopback or private address (RFC 1918, RFC 4193, link-local), `localhost`, or
    /// a name that resolves to such addresses alone, and does not speak TLS: HTTPS is tried first, and an
    /// invalid certificate is an error, not a reason for plain HTTP. Elsewhere HTTPS, always.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Proxies by scheme, as curl's variables name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For http URLs.
    pub http: Option<String>,
    /// For https URLs.
    pub https: Option<String>,
    /// Hosts that are reached directly, comma-separated.
    pub no_proxy: Option<String>,
}
