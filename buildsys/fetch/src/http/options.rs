//! How the HTTP client behaves; all of it given, none of it read from the process.

use std::path::PathBuf;
use std::time::Duration;

use crate::MachineConfig;

/// How the HTTP client behaves.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// A PEM bundle that replaces the platform's trust store.
    pub ca_file: Option<PathBuf>,
    /// A hashed folder of certificates that replaces the platform's trust store.
    pub ca_dir: Option<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest silence while a body is read.
    pub read_timeout: Duration,
    /// How often a transient failure is tried again at one URL.
    pub retries: u32,
    /// The wait before the first retry; it doubles each time.
    pub backoff: Duration,
    /// How many downloads run at a time.
    pub parallel: usize,
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

impl Proxies {
    /// The hosts of the proxies themselves.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        let urls = [&self.http, &self.https].into_iter().flatten();
        urls.filter_map(|url| {
            // As curl reads it, a proxy without a scheme is one by HTTP.
            let url = if url.contains("://") {
                url.clone()
            } else {
                format!("http://{url}")
            };
            Some(reqwest::Url::parse(&url).ok()?.host_str()?.to_owned())
        })
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            ca_file: None,
            ca_dir: None,
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(20),
            read_timeout: Duration::from_mins(1),
            retries: 4,
            backoff: Duration::from_millis(500),
            parallel: 8,
        }
    }
}

impl HttpOptions {
    /// The usual behaviour with the machine's trust (SSL_CERT_FILE, SSL_CERT_DIR) and proxies.
    pub fn from_machine(machine: &MachineConfig) -> Self {
        let variable = |names: &[&str]| {
            names
                .iter()
                .find_map(|name| machine.env(name))
                .map(str::to_owned)
        };
        let all = variable(&["all_proxy", "ALL_PROXY"]);
        Self {
            ca_file: machine.env("SSL_CERT_FILE").map(PathBuf::from),
            ca_dir: machine.env("SSL_CERT_DIR").map(PathBuf::from),
            proxies: Proxies {
                http: variable(&["http_proxy", "HTTP_PROXY"]).or_else(|| all.clone()),
                https: variable(&["https_proxy", "HTTPS_PROXY"]).or(all),
                no_proxy: variable(&["no_proxy", "NO_PROXY"]),
            },
            ..Self::default()
        }
    }
}
