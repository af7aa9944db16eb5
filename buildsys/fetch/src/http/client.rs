//! The client: requests with retries, and small documents.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE, RETRY_AFTER};
use tokio::sync::Semaphore;

use super::error::redact;
use super::{HttpError, HttpOptions};

/// An HTTP client; clones share connections and the limit of parallel downloads.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    retries: u32,
    backoff: Duration,
    pub(super) slots: Arc<Semaphore>,
}

/// No wait that a server asks for is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Http {
    /// A client that trusts and connects as `options` says, and looks at nothing else.
    pub fn new(options: &HttpOptions) -> Result<Self, HttpError> {
        let builder = builder(options)?.user_agent(concat!("tbuild/", env!("CARGO_PKG_VERSION")));
        Ok(Self {
            client: builder
                .build()
                .map_err(|error| HttpError::Setup(error.to_string()))?,
            retries: options.retries,
            backoff: options.backoff,
            slots: Arc::new(Semaphore::new(options.parallel.max(1))),
        })
    }

    /// A document of at most `limit` bytes, whole in memory. The first of `urls` that can be had is taken.
    pub async fn document(&self, urls: &[String], limit: u64) -> Result<Vec<u8>, HttpError> {
        let mut last = HttpError::Nowhere("the document".to_owned());
        for url in urls {
            match self.retrying(async || self.read(url, limit).await).await {
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.mirror_specific() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn read(&self, url: &str, limit: u64) -> Result<Vec<u8>, (HttpError, Option<Duration>)> {
        let response = self.request(url, 0).await?;
        let mut bytes = Vec::new();
        let mut body = response.bytes_stream();
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| (HttpError::from_reqwest(url, error), None))?;
            if (bytes.len() + part.len()) as u64 > limit {
                return Err((
                    HttpError::TooLarge {
                        url: redact(url),
                        limit,
                    },
                    None,
                ));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }

    /// One GET, from byte `start` on if the server can. A failure says how long the server asks to wait.
    pub(super) async fn request(
        &self,
        url: &str,
        start: u64,
    ) -> Result<reqwest::Response, (HttpError, Option<Duration>)> {
        let mut headers = HeaderMap::new();
        if start > 0
            && let Ok(value) = format!("bytes={start}-").parse()
        {
            headers.insert(RANGE, value);
        }
        self.get(url, headers).await
    }

    /// One GET with `headers`: an answer of success, or that nothing changed where they ask that.
    pub(super) async fn get(
        &self,
        url: &str,
        headers: HeaderMap,
    ) -> Result<reqwest::Response, (HttpError, Option<Duration>)> {
        let conditional =
            headers.contains_key(IF_NONE_MATCH) || headers.contains_key(IF_MODIFIED_SINCE);
        let response = self
            .client
            .get(url)
            .headers(headers)
            .send()
            .await
            .map_err(|error| (HttpError::from_reqwest(url, error), None))?;
        let status = response.status();
        if status.is_success() || (conditional && status == StatusCode::NOT_MODIFIED) {
            return Ok(response);
        }
        let wait = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.parse().ok());
        Err((
            HttpError::Status {
                url: redact(url),
                status: status.as_u16(),
            },
            wait.map(Duration::from_secs),
        ))
    }

    /// Tries again while the failure may pass.
    pub(super) async fn retrying<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, (HttpError, Option<Duration>)>,
    ) -> Result<T, HttpError> {
        let mut tried = 0;
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err((error, wait)) if tried < self.retries && error.transient() => {
                    let wait = wait
                        .unwrap_or(self.backoff * (1 << tried.min(8)))
                        .min(LONGEST_WAIT);
                    tracing::debug!(%error, ?wait, "trying again");
                    tokio::time::sleep(wait).await;
                    tried += 1;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

/// A client for requests that are passed on as they are: it says nothing of itself, follows no redirect, tries nothing
/// again and leaves compressed what is. It trusts and connects as `options` says, and resolves names with `names`.
pub fn relay(
    options: &HttpOptions,
    names: impl reqwest::dns::Resolve + 'static,
) -> Result<reqwest::Client, HttpError> {
    builder(options)?
        .dns_resolver(names)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .build()
        .map_err(|error| HttpError::Setup(error.to_string()))
}

fn builder(options: &HttpOptions) -> Result<reqwest::ClientBuilder, HttpError> {
    let setup = |error: reqwest::Error| HttpError::Setup(error.to_string());
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(options)?)
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .no_proxy();
    let proxies = &options.proxies;
    let direct = proxies
        .no_proxy
        .as_deref()
        .and_then(reqwest::NoProxy::from_string);
    if let Some(url) = &proxies.http {
        builder = builder.proxy(
            reqwest::Proxy::http(url)
                .map_err(setup)?
                .no_proxy(direct.clone()),
        );
    }
    if let Some(url) = &proxies.https {
        builder = builder.proxy(reqwest::Proxy::https(url).map_err(setup)?.no_proxy(direct));
    }
    Ok(builder)
}

/// TLS over ring with the given trust, or the platform's.
fn tls(options: &HttpOptions) -> Result<rustls::ClientConfig, HttpError> {
    let found = if options.ca_file.is_some() || options.ca_dir.is_some() {
        rustls_native_certs::load_certs_from_paths(
            options.ca_file.as_deref(),
            options.ca_dir.as_deref(),
        )
    } else {
        rustls_native_certs::load_native_certs()
    };
    let mut roots = rustls::RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    // A machine without any trusted certificate can still fetch by http; https then fails with its own words.
    if added == 0
        && let Some(error) = found.errors.first()
    {
        tracing::debug!(%error, "no trusted certificates");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::Setup(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
