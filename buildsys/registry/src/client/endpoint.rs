//! How a registry is reached: HTTPS or plain HTTP, directly or through a proxy. Found out once.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use reqwest::Url;
use tokio::sync::OnceCell;

use super::auth::Auth;
use super::error::{self, classify};
use super::{PlainHttp, RegistryClient, RegistryError, Unreachability};

/// The short name of Docker's own registry, and the host that it stands for.
const DOCKER: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// A private server that has not answered a TLS greeting by then does not speak TLS.
const GREETING: Duration = Duration::from_secs(5);

/// What is known of one registry.
#[derive(Debug)]
pub(super) struct Endpoint {
    registry: String,
    base: OnceCell<Base>,
}

/// Where and how a registry is reached.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub registry: String,
    /// Ends in `/v2/`.
    pub url: Url,
    pub client: reqwest::Client,
    pub auth: std::sync::Arc<Auth>,
}

impl Base {
    /// The URL of a path below `/v2/`.
    pub(super) fn join(&self, path: &str) -> Result<Url, RegistryError> {
        self.url
            .join(path)
            .map_err(|error| RegistryError::Protocol {
                registry: self.registry.clone(),
                why: format!("{path:?} makes no URL: {error}"),
            })
    }

    /// Whether a URL is the registry's own: what is sent there may carry the log-in.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.url.origin()
    }
}

impl Endpoint {
    pub(super) fn new(registry: &str) -> Self {
        Self {
            registry: registry.to_owned(),
            base: OnceCell::new(),
        }
    }

    /// Where the registry is.
    pub(super) async fn base(&self, client: &RegistryClient) -> Result<Base, RegistryError> {
        let base = self.base.get_or_try_init(|| self.find(client));
        base.await.cloned()
    }

    async fn find(&self, client: &RegistryClient) -> Result<Base, RegistryError> {
        let host = if self.registry == DOCKER.0 {
            DOCKER.1
        } else {
            self.registry.as_str()
        };
        let secure = self.url("https", host)?;
        let private = is_private(&secure).await;
        let tls = match client.options().plain_http {
            PlainHttp::Always => false,
            PlainHttp::Never => true,
            PlainHttp::Auto if !private => true,
            PlainHttp::Auto => self.speaks_tls(client, &secure).await?,
        };
        let url = if tls { secure } else { self.url("http", host)? };
        tracing::debug!(registry = self.registry, %url, "registry");
        Ok(Base {
            registry: self.registry.clone(),
            client: client.shared.transport.client(tls, !private)?,
            url,
            auth: std::sync::Arc::default(),
        })
    }

    fn url(&self, scheme: &str, host: &str) -> Result<Url, RegistryError> {
        let text = format!("{scheme}://{host}/v2/");
        let url = Url::parse(&text).ok().filter(|url| {
            let bare = url.username().is_empty() && url.password().is_none();
            bare && url.host().is_some() && url.path() == "/v2/"
        });
        url.ok_or_else(|| RegistryError::Setup(format!("{:?} is no registry", self.registry)))
    }

    /// Whether a private server speaks TLS. It does if it answers over it, or shows a certificate.
    async fn speaks_tls(&self, client: &RegistryClient, url: &Url) -> Result<bool, RegistryError> {
        let options = client.options();
        let http = client.shared.transport.client(true, false)?;
        let mut tried = 0;
        loop {
            let greeted = http.get(url.clone()).timeout(GREETING).send().await;
            let Err(error) = greeted else {
                return Ok(true);
            };
            let why = classify(&error);
            let unreachable = |error| RegistryError::Unreachable {
                registry: self.registry.clone(),
                why,
                source: Box::new(error),
            };
            if error::speaks_tls(&error) {
                return Err(unreachable(error));
            }
            tracing::debug!(registry = self.registry, ?error, "no TLS");
            // Without a port, HTTP has another one.
            if why != Unreachability::Refused || url.port().is_none() {
                return Ok(false);
            }
            if tried == options.retries {
                return Err(unreachable(error));
            }
            tokio::time::sleep(options.backoff * (1 << tried.min(8))).await;
            tried += 1;
        }
    }
}

/// Whether a URL's host is a loopback or private address, or a name of such addresses alone.
async fn is_private(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return is_private_address(address);
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return true;
    }
    let port = url.port_or_known_default().unwrap_or(443);
    match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => {
            let mut any = false;
            let mut all = true;
            for address in addresses {
                any = true;
                all &= is_private_address(address.ip());
            }
            any && all
        }
        // Perhaps a proxy knows it.
        Err(_) => false,
    }
}

/// Loopback, RFC 1918, RFC 4193, link-local.
fn is_private_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private_address(IpAddr::V4(v4)),
            None => v6 == Ipv6Addr::LOCALHOST || v6.is_unique_local() || v6.is_unicast_link_local(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses() {
        for (address, private) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("10.1.2.3", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("169.254.1.1", true),
            ("192.0.2.1", false),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:192.0.2.1", false),
        ] {
            let parsed = address.parse().unwrap();
            assert_eq!(is_private_address(parsed), private, "{address}");
        }
    }

    #[tokio::test]
    async fn private_names() {
        let private = async |registry: &str| {
            let endpoint = Endpoint::new(registry);
            is_private(&endpoint.url("https", registry).unwrap()).await
        };
        assert!(private("localhost:5000").await);
        assert!(private("registry.localhost").await);
        assert!(private("[::1]:5000").await);
        assert!(private("127.0.0.1").await);
        assert!(!private("192.0.2.7:5000").await);
        assert!(!private("no-such-name.invalid").await);
    }

    #[test]
    fn a_registry_is_a_host_and_a_port() {
        for text in [
            "",
            "a/b",
            "user@host",
            "user:pass@host",
            "host:99999",
            "a b",
        ] {
            assert!(Endpoint::new(text).url("https", text).is_err(), "{text:?}");
        }
    }
}
