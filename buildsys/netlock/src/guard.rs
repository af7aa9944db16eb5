//! Names of origins as they are connected to.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::upstream::is_local;

/// Resolves names as the machine does, and none to this machine or to its own link.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    except: BTreeSet<String>,
}

impl Guard {
    /// A guard that lets these names pass: proxies, which may well be on this machine.
    pub fn except(names: impl IntoIterator<Item = String>) -> Self {
        let except = names
            .into_iter()
            .map(|name| name.to_ascii_lowercase())
            .collect();
        Self { except }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let is_free = self.except.contains(&name.as_str().to_ascii_lowercase());
        Box::pin(async move {
            // The port is put in by whoever connects.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<SocketAddr> = found.collect();
            let local = found.iter().find(|address| is_local(address.ip()));
            if let Some(address) = local.filter(|_| !is_free) {
                let why = format!(
                    "{} is on this machine or on its own link ({}), which no recorded step may ask",
                    name.as_str(),
                    address.ip()
                );
                return Err(io::Error::other(why).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
