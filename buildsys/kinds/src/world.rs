//! What ops share: the store, the executor, what is known of this machine.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tbuild_digest::DiffId;
use tbuild_dockerfile::Platform;
use tbuild_exec::Executor;
use tbuild_kube::Cluster;
use tbuild_lock::Day;
use tbuild_oci::LayerIndex;
use tbuild_realise::{Context, OpError};
use tbuild_store::Store;
use tbuild_store_local::LocalStore;
use tbuild_tree::Rootfs;
use tokio::sync::OnceCell;

use crate::deploy::kube_failure;
use crate::emulation::{How, Registration};
use crate::network::Recordings;
use crate::{LayerRef, StepSettings, resemble};

/// The store's space for encoded layer indexes, by diff ID.
pub(crate) const INDEX: &str = "layer-index";

/// What is known of this machine, read once by the command line.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The machine's trusted certificates, one bundle, PEM.
    pub ca_bundle: Option<Vec<u8>>,
    /// What /etc/resolv.conf says, for steps on the host's network.
    pub resolv_conf: Vec<u8>,
    /// Which hosts serve the logical origins.
    pub origins: tbuild_fetch::Origins,
    /// What package clients of a RUN have to be told so that they use this machine's hosts.
    pub client_env: BTreeMap<String, String>,
    /// How HTTP is spoken: trust and proxies.
    pub http: tbuild_fetch::HttpOptions,
    /// The environment that git is run with.
    pub git_env: BTreeMap<String, String>,
    /// How registries are spoken to: trust, proxies, who logs in.
    pub registry: tbuild_registry::RegistryOptions,
    /// The kubeconfigs, merged as kubectl merges them.
    pub kubeconfigs: Vec<PathBuf>,
    /// The environment that helm is run with.
    pub helm_env: BTreeMap<String, String>,
    /// `os/architecture` of this machine.
    pub platform: String,
}

/// What ops share.
pub struct World {
    /// The store.
    pub store: Arc<LocalStore>,
    /// Runs steps.
    pub executor: Arc<dyn Executor>,
    /// This machine.
    pub machine: Machine,
    /// The folder of tbuild.toml, absolute.
    pub project: PathBuf,
    /// Whether nothing outside may be connected to.
    pub offline: bool,
    /// Whether lockfiles may not be written.
    pub frozen: bool,
    /// Whether this process is root only in a user namespace that it entered for itself.
    pub rootless: bool,
    /// What programs of the user's are started under, so that they see the user who started tbuild.
    pub as_user: Vec<String>,
    /// What the build gives its steps.
    pub steps: StepSettings,
    /// What helm is started under, so that it dies with tbuild.
    pub launcher: Vec<String>,
    /// What recorded steps share.
    pub(crate) recordings: Recordings,
    /// Held while a layer is compressed.
    pub(crate) compressing: Mutex<()>,
    /// How programs of other platforms are run, as far as it was asked.
    pub(crate) emulation: Mutex<HashMap<Platform, How>>,
    /// Emulators that this process has registered for itself; none where that is not to be had.
    pub(crate) emulators: OnceLock<Option<Registration>>,
    indexes: Mutex<HashMap<DiffId, Arc<LayerIndex>>>,
    cluster: OnceCell<Cluster>,
}

impl World {
    /// A world over `store`.
    pub fn new(
        store: Arc<LocalStore>,
        executor: Arc<dyn Executor>,
        machine: Machine,
        project: PathBuf,
    ) -> Self {
        Self {
            store,
            executor,
            machine,
            project,
            offline: false,
            frozen: false,
            rootless: false,
            as_user: Vec::new(),
            steps: StepSettings::default(),
            launcher: Vec::new(),
            recordings: Recordings::default(),
            compressing: Mutex::default(),
            emulation: Mutex::default(),
            emulators: OnceLock::new(),
            indexes: Mutex::default(),
            cluster: OnceCell::new(),
        }
    }

    /// The cluster that the kubeconfigs name: one connection for all.
    pub(crate) async fn cluster(&self) -> Result<&Cluster, OpError> {
        let connect = || Cluster::connect(&self.machine.kubeconfigs, None);
        self.cluster
            .get_or_try_init(connect)
            .await
            .map_err(|error| kube_failure(&error))
    }

    /// Connects to the cluster while other work is done.
    pub fn connect_ahead(self: &Arc<Self>) {
        let world = Arc::clone(self);
        #[expect(clippy::let_underscore_future, reason = "nobody waits for it")]
        let _ = tokio::spawn(async move {
            if let Ok(cluster) = world.cluster().await {
                cluster.greet().await;
            }
        });
    }

    /// An absolute path for one that tbuild.toml names.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.project.join(path)
    }

    /// The index of a layer that is in the store.
    pub fn index(&self, diff_id: &DiffId) -> Result<Arc<LayerIndex>, OpError> {
        if let Some(index) = self
            .indexes
            .lock()
            .ok()
            .and_then(|known| known.get(diff_id).cloned())
        {
            return Ok(index);
        }
        let name = diff_id.hex();
        let kept = self
            .store
            .reference(INDEX, &name)?
            .and_then(|bytes| LayerIndex::decode(&bytes).ok());
        let blob = diff_id.as_uncompressed_blob();
        let index = if let Some(index) = kept {
            index
        } else if self.store.blob_size(&blob)?.is_none()
            && let Some(index) = self.left_out_index(diff_id)?
        {
            index
        } else {
            let reader = self
                .store
                .open_blob(&blob)?
                .ok_or_else(|| OpError::Internal {
                    message: format!("layer {diff_id} is not in the store"),
                })?;
            let reader = std::io::BufReader::with_capacity(1 << 20, reader);
            let index = tbuild_oci::index_layer(reader).map_err(|error| {
                if error.is_malformed() {
                    OpError::failed(&error)
                } else {
                    OpError::internal(&error)
                }
            })?;
            self.store
                .set_reference(INDEX, &name, Some(&index.encode()))?;
            index
        };
        Ok(self.remember(diff_id, index))
    }

    /// Keeps the index of a layer that was just written.
    pub fn keep_index(
        &self,
        diff_id: &DiffId,
        index: LayerIndex,
    ) -> Result<Arc<LayerIndex>, OpError> {
        self.store
            .set_reference(INDEX, &diff_id.hex(), Some(&index.encode()))?;
        Ok(self.remember(diff_id, index))
    }

    fn remember(&self, diff_id: &DiffId, index: LayerIndex) -> Arc<LayerIndex> {
        let index = Arc::new(index);
        if let Ok(mut known) = self.indexes.lock() {
            known.insert(*diff_id, Arc::clone(&index));
        }
        index
    }

    /// The merged view of layers, lowest first.
    pub fn rootfs(&self, layers: &[LayerRef]) -> Result<Rootfs, OpError> {
        let trees: Result<Vec<_>, OpError> = layers
            .iter()
            .map(|layer| Ok(Arc::clone(self.index(&layer.diff_id)?.tree())))
            .collect();
        Ok(Rootfs::new(trees?))
    }

    /// The layers unpacked, topmost first, as executors want them: a folder each, or two for one that little
    /// distinguishes from another.
    pub fn snapshots(&self, layers: &[LayerRef]) -> Result<Vec<PathBuf>, OpError> {
        let mut folders = Vec::with_capacity(layers.len());
        for LayerRef { diff_id, .. } in layers.iter().rev() {
            if let Some(whole) = self.store.snapshot(diff_id)? {
                folders.push(whole);
                continue;
            }
            self.refuse_left_out(diff_id)?;
            match resemble::base(self, diff_id)? {
                Some(base) if self.store.snapshot(&base)?.is_some() => {
                    let (layer, below) = (self.index(diff_id)?, self.index(&base)?);
                    let over = (&base, below.as_ref());
                    folders.extend(self.store.ensure_snapshot_over((diff_id, &layer), over)?);
                }
                _ => folders.push(self.store.ensure_snapshot(diff_id)?),
            }
        }
        Ok(folders)
    }

    /// Whether a layer's bytes are here, or need not be.
    pub fn has_layer(&self, layer: &LayerRef) -> Result<bool, OpError> {
        let blob = layer.diff_id.as_uncompressed_blob();
        Ok(self.store.blob_size(&blob)? == Some(layer.size) || self.is_left_out(layer)?)
    }
}

/// Seconds since the epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "signed Release files run out, and locks say when they were made: no key holds it"
)]
pub(crate) fn unix_now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Today, in UTC: for locks.
pub(crate) fn today() -> Day {
    Day::of_unix(unix_now())
}

/// Runs blocking work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| OpError::internal(&error))?
}

/// What `work` comes to, or, within a tenth of a second, that the user wants no more of it: it is dropped where it is.
pub(crate) async fn unless_cancelled<T>(
    cx: &Context,
    work: impl Future<Output = T>,
) -> Result<T, OpError> {
    tokio::pin!(work);
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = tick.tick() => if cx.cancel.is_cancelled() {
                return Err(OpError::Cancelled);
            },
        }
    }
}

/// Gives a thread of its own to work that drives a future there: borrowed progress callbacks make one that
/// cannot move between threads.
pub(crate) async fn driven<T: Send + 'static>(
    work: impl FnOnce(&tokio::runtime::Handle) -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    let handle = tokio::runtime::Handle::current();
    blocking(move || work(&handle)).await
}
