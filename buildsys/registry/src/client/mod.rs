//! A client for any registry. Source: OCI Distribution Specification 1.1, and for log-in the Docker Registry
//! token and OAuth2 specifications.

mod auth;
mod body;
mod challenge;
mod download;
mod endpoint;
mod error;
mod manifest;
mod options;
mod platform;
mod pull;
mod push;
mod request;
mod transport;
mod upload;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tbuild_oci::Reference;

pub use download::BlobBody;
pub use error::{RegistryError, Unreachability};
pub use options::{Credentials, PlainHttp, Proxies, RegistryOptions};
pub use pull::{PullOptions, PulledImage, PulledLayer};
pub use push::Pushed;
pub use upload::PushBlob;

use endpoint::Endpoint;
use request::{Ask, Scope};
use transport::Transport;

/// A client; clones share connections, log-ins and what is known of each registry. Cheap to make: nothing is
/// read or connected before it is needed. Every future may be dropped at any time: what is under way stops
/// and leaves nothing behind.
#[derive(Debug, Clone)]
pub struct RegistryClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: RegistryOptions,
    transport: Transport,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
}

impl RegistryClient {
    /// A client that behaves as `options` say, and looks at nothing else.
    pub fn new(options: RegistryOptions) -> Self {
        let shared = Shared {
            transport: Transport::new(&options),
            options,
            endpoints: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn options(&self) -> &RegistryOptions {
        &self.shared.options
    }

    /// What is known of the registry of `reference`.
    fn endpoint(&self, registry: &str) -> Arc<Endpoint> {
        let shared = &self.shared;
        let mut endpoints = shared
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Endpoint::new(registry));
        Arc::clone(endpoints.entry(registry.to_owned()).or_insert_with(new))
    }

    /// Whether a registry (`host[:port]`) answers; who may do what is not asked.
    pub async fn ping(&self, registry: &str) -> Result<(), RegistryError> {
        let endpoint = self.endpoint(registry);
        let base = endpoint.base(self).await?;
        let answer = self.exchange(&base, &Ask::get(base.url.clone())).await?;
        match answer.status().as_u16() {
            // A registry that wants a log-in does answer.
            200..=299 | 401 | 403 => Ok(()),
            status => Err(RegistryError::Protocol {
                registry: registry.to_owned(),
                why: format!("it is no registry: it answers /v2/ with status {status}"),
            }),
        }
    }

    /// Whether a repository has a blob.
    pub async fn blob_exists(
        &self,
        repository: &Reference,
        digest: &tbuild_digest::BlobDigest,
    ) -> Result<bool, RegistryError> {
        self.has_blob(repository, digest, &Scope::pull(repository))
            .await
    }

    async fn has_blob(
        &self,
        repository: &Reference,
        digest: &tbuild_digest::BlobDigest,
        scope: &Scope,
    ) -> Result<bool, RegistryError> {
        let base = self.endpoint(&repository.registry).base(self).await?;
        let url = base.join(&format!("{}/blobs/{digest}", repository.repository))?;
        let answer = self.send(&base, scope, &Ask::head(url)).await?;
        if answer.status() == http::StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let what = format!("blob {digest} of {}", repository.repository);
        self.expect(&base, scope, answer, &what).await.map(|_| true)
    }
}
