//! The way to origins.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use http::{HeaderMap, Method};
use tbuild_digest::BlobDigest;
use tbuild_store::{Store, StoreError};
use tokio::sync::mpsc;

use bytes::Bytes;

use crate::place::without_secrets;

/// How much one step may have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes that one request may send.
    pub request: u64,
    /// Bytes that one answer may have.
    pub answer: u64,
    /// Whether origins on this machine and on its own link may be asked. They are what attacks on builders go for:
    /// services that listen on loopback, and the cloud's metadata.
    pub local: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: 64 << 20,
            answer: 8 << 30,
            local: false,
        }
    }
}

/// Why an origin's answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// It did not answer, or not by the rules.
    #[error("{url} cannot be had: {why}")]
    Failed {
        /// What was asked for.
        url: String,
        /// Why not: the whole chain.
        why: String,
    },
    /// It is no origin that a step may ask.
    #[error(
        "{url} is on this machine or on its own link ({address}), which no recorded step may ask"
    )]
    Local {
        /// What was asked for.
        url: String,
        /// What its name means.
        address: IpAddr,
    },
    /// It is too large.
    #[error("{url} has more than the {limit} bytes that one answer may have")]
    Large {
        /// What was asked for.
        url: String,
        /// How much is allowed.
        limit: u64,
    },
    /// The store cannot keep it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The way to origins.
#[derive(Debug)]
pub struct Upstream {
    /// Asks them, with the machine's trust and proxies; it follows no redirect and decompresses nothing. Unless origins
    /// may be local it resolves names with a [`crate::Guard`]: what a name means when it is looked at is not what it
    /// means when it is connected to, if someone wants it so.
    pub client: reqwest::Client,
    /// How much one step may have.
    pub limits: Limits,
    /// Whether what is recorded and is not in the store any more may be asked for again.
    pub refill: bool,
    /// Names that led elsewhere than to this machine, and when that was looked up.
    passed: Mutex<BTreeMap<String, Instant>>,
}

/// How long a name is taken to lead where it led. Who connects looks it up again.
const REMEMBERED: Duration = Duration::from_mins(1);

impl Upstream {
    /// A way with nothing known of it; the fields say what for.
    pub fn new(client: reqwest::Client, limits: Limits, refill: bool) -> Self {
        Self {
            client,
            limits,
            refill,
            passed: Mutex::default(),
        }
    }

    /// Sends a request; the answer's body has not been read yet.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<reqwest::Response, UpstreamError> {
        let failed = |error: reqwest::Error| UpstreamError::Failed {
            url: without_secrets(url),
            why: chain(&error.without_url()),
        };
        if !self.limits.local {
            self.refuse_local(url).await?;
        }
        let request = self.client.request(method, url).headers(headers).body(body);
        request.send().await.map_err(failed)
    }

    fn has_passed(&self, host: &str) -> bool {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.retain(|_, at| at.elapsed() < REMEMBERED);
        passed.contains_key(host)
    }

    async fn refuse_local(&self, url: &str) -> Result<(), UpstreamError> {
        let Some((host, port)) = reqwest::Url::parse(url).ok().and_then(|url| {
            let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
            Some((host, url.port_or_known_default()?))
        }) else {
            return Ok(());
        };
        if self.has_passed(&host) {
            return Ok(());
        }
        // A name that means nothing here may mean something to a proxy, which is asked then.
        let Ok(addresses) = tokio::net::lookup_host((host.as_str(), port)).await else {
            return Ok(());
        };
        let mut addresses = addresses.map(|address: SocketAddr| address.ip());
        if let Some(address) = addresses.find(|address| is_local(*address)) {
            return Err(UpstreamError::Local {
                url: without_secrets(url),
                address,
            });
        }
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.insert(host.clone(), Instant::now());
        Ok(())
    }

    /// Reads a body into the store and passes it on as it comes. Nobody has to be listening.
    pub(crate) async fn keep(
        &self,
        store: Arc<dyn Store>,
        url: &str,
        response: reqwest::Response,
        listener: mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<(BlobDigest, u64), UpstreamError> {
        let limit = self.limits.answer;
        let large = || UpstreamError::Large {
            url: url.to_owned(),
            limit,
        };
        let promised = response.content_length();
        if promised.is_some_and(|size| size > limit) {
            return Err(large());
        }
        let mut writer = store.blob_writer()?;
        let mut parts = response.bytes_stream();
        let mut size = 0;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| UpstreamError::Failed {
                url: url.to_owned(),
                why: chain(&error.without_url()),
            })?;
            size += part.len() as u64;
            if size > limit {
                return Err(large());
            }
            writer
                .write_all(&part)
                .map_err(|source| StoreError::io(format!("write {url} to the store"), source))?;
            let _gone = listener.send(Ok(part)).await;
        }
        Ok(writer.commit(None)?)
    }
}

/// Loopback, link-local (where clouds have their metadata), unspecified; IPv4 in IPv6 likewise.
pub(crate) fn is_local(address: IpAddr) -> bool {
    let v4 = |address: Ipv4Addr| {
        address.is_loopback()
            || address.is_link_local()
            || address.is_unspecified()
            || address.is_broadcast()
            || address.is_multicast()
    };
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.is_multicast()
                || address.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_local() {
        let local = [
            "127.0.0.1",
            "127.8.9.1",
            "169.254.169.254",
            "0.0.0.0",
            "::1",
            "fe80::1",
            "::ffff:127.0.0.1",
        ];
        for text in local {
            assert!(is_local(text.parse().expect("an address")), "{text}");
        }
        for text in [
            "10.0.0.1",
            "192.168.1.1",
            "93.184.216.34",
            "2001:db8::1",
            "fd00::1",
        ] {
            assert!(!is_local(text.parse().expect("an address")), "{text}");
        }
    }
}
