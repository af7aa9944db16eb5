//! HTTP clients, each made when it is first needed: reading trusted certificates takes longer than a push of
//! nothing.

use std::sync::{Arc, OnceLock};

use super::{RegistryError, RegistryOptions};

/// HTTP clients by how they connect.
#[derive(Debug)]
pub(super) struct Transport {
    options: RegistryOptions,
    /// By TLS, then by whether proxies are asked.
    clients: [[OnceLock<reqwest::Client>; 2]; 2],
}

impl Transport {
    pub(super) fn new(options: &RegistryOptions) -> Self {
        Self {
            options: options.clone(),
            clients: Default::default(),
        }
    }

    /// A client for HTTP or HTTPS, through the proxies or not.
    pub(super) fn client(
        &self,
        tls: bool,
        proxied: bool,
    ) -> Result<reqwest::Client, RegistryError> {
        let slot = &self.clients[usize::from(tls)][usize::from(proxied)];
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = self.build(tls, proxied)?;
        Ok(slot.get_or_init(|| client).clone())
    }

    fn build(&self, tls: bool, proxied: bool) -> Result<reqwest::Client, RegistryError> {
        let setup = |error: reqwest::Error| RegistryError::Setup(error.to_string());
        let options = &self.options;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls(tls)?)
            .user_agent(concat!("tbuild/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .no_proxy();
        if proxied {
            let proxies = &options.proxies;
            let direct = proxies
                .no_proxy
                .as_deref()
                .and_then(reqwest::NoProxy::from_string);
            if let Some(url) = &proxies.http {
                let proxy = reqwest::Proxy::http(url).map_err(setup)?;
                builder = builder.proxy(proxy.no_proxy(direct.clone()));
            }
            if let Some(url) = &proxies.https {
                let proxy = reqwest::Proxy::https(url).map_err(setup)?;
                builder = builder.proxy(proxy.no_proxy(direct));
            }
        }
        builder.build().map_err(setup)
    }

    /// TLS over ring with the given trust, or the platform's; with none for plain HTTP.
    fn tls(&self, needed: bool) -> Result<rustls::ClientConfig, RegistryError> {
        let mut roots = rustls::RootCertStore::empty();
        if needed {
            let options = &self.options;
            let found = if options.ca_file.is_some() || options.ca_dir.is_some() {
                rustls_native_certs::load_certs_from_paths(
                    options.ca_file.as_deref(),
                    options.ca_dir.as_deref(),
                )
            } else {
                rustls_native_certs::load_native_certs()
            };
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0
                && let Some(error) = found.errors.first()
            {
                tracing::debug!(%error, "no trusted certificates");
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| RegistryError::Setup(error.to_string()))?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
