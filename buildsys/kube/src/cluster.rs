//! A cluster to ask.

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde_json::json;

use crate::KubeError;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer that is not a stream may take.
const ANSWER: Duration = Duration::from_secs(30);

/// A cluster, and who asks it. Clones are one.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    url: String,
    default_namespace: String,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// The cluster of `context`, or of the current context, in `kubeconfigs` merged as kubectl merges those
    /// that KUBECONFIG lists. Asks nothing of it yet.
    pub async fn connect(
        kubeconfigs: &[PathBuf],
        context: Option<&str>,
    ) -> Result<Self, KubeError> {
        let mut merged: Option<Kubeconfig> = None;
        for path in kubeconfigs {
            let fail = |source| KubeError::Kubeconfig {
                path: path.clone(),
                source: Box::new(source),
            };
            let one = Kubeconfig::read_from(path).map_err(fail)?;
            merged = Some(match merged {
                Some(first) => first.merge(one).map_err(fail)?,
                None => one,
            });
        }
        let kubeconfig = merged.ok_or(KubeError::NoKubeconfig)?;
        let options = KubeConfigOptions {
            context: context.map(str::to_owned),
            ..KubeConfigOptions::default()
        };
        let wrong = |source: Box<dyn std::error::Error + Send + Sync>| KubeError::Context {
            context: context.unwrap_or_default().to_owned(),
            source,
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| wrong(Box::new(error)))?;
        config.connect_timeout = Some(CONNECT);
        // A log that is followed may say nothing for hours.
        config.read_timeout = None;
        let url = config.cluster_url.to_string();
        let default_namespace = config.default_namespace.clone();
        // Without a process-wide provider rustls takes none of several; ring is what this program has.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::try_from(config).map_err(|error| wrong(Box::new(error)))?;
        Ok(Self {
            client,
            url,
            default_namespace,
        })
    }

    /// Opens a connection, so that the first question finds one. That nobody is there is told to who asks then.
    pub async fn greet(&self) {
        let _ = self.client.apiserver_version().await;
    }

    /// Where the API server is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The namespace that the context names; `default` where it names none.
    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }

    /// The version that the API server reports, such as `v1.34.2`.
    pub async fn version(&self) -> Result<String, KubeError> {
        let version = self.ask("ask its version", self.client.apiserver_version());
        Ok(version.await?.git_version)
    }

    /// Makes sure that the namespace is there; whether it had to be made.
    pub async fn ensure_namespace(&self, name: &str) -> Result<bool, KubeError> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let action = format!("find namespace {name}");
        if self.ask(&action, namespaces.get_opt(name)).await?.is_some() {
            return Ok(false);
        }
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        });
        let action = format!("make namespace {name}");
        let namespace = decode(&action, namespace)?;
        let parameters = PostParams::default();
        match self
            .ask(&action, namespaces.create(&parameters, &namespace))
            .await
        {
            // Someone else was faster.
            Err(KubeError::Refused { code: 409, .. }) => Ok(false),
            made => made.map(|_| true),
        }
    }

    /// Deletes the pods that `selector` selects, so that their owners start them again; how many.
    pub async fn delete_pods(&self, namespace: &str, selector: &str) -> Result<usize, KubeError> {
        let pods: Api<Pod> = self.namespaced(namespace);
        let selected = ListParams::default().labels(selector);
        let action = format!("list pods {selector} in {namespace}");
        let list = self.ask(&action, pods.list_metadata(&selected)).await?;
        let parameters = DeleteParams::default();
        let mut count = 0;
        for name in list.items.into_iter().filter_map(|pod| pod.metadata.name) {
            let action = format!("delete pod {namespace}/{name}");
            match self.ask(&action, pods.delete(&name, &parameters)).await {
                Err(KubeError::Refused { code: 404, .. }) => {}
                deleted => {
                    deleted?;
                    count += 1;
                }
            }
        }
        Ok(count)
    }

    /// Who asks.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of one kind in a namespace.
    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits for one answer; `action` says what for. Boxed: a client's futures are of several KiB, and callers
    /// hold many.
    pub(crate) async fn ask<T>(
        &self,
        action: &str,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, KubeError> {
        match tokio::time::timeout(ANSWER, Box::pin(answer)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(KubeError::of(&self.url, action, error)),
            Err(_) => Err(KubeError::Slow {
                url: self.url.clone(),
                action: action.to_owned(),
                after: ANSWER,
            }),
        }
    }
}

/// A typed object out of JSON.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(
    action: &str,
    value: serde_json::Value,
) -> Result<T, KubeError> {
    serde_json::from_value(value).map_err(|error| KubeError::Protocol {
        action: action.to_owned(),
        source: Box::new(error),
    })
}
