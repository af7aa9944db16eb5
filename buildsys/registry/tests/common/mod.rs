//! What the tests of this crate share: servers, images, and a proxy that breaks connections.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tbuild_digest::{BlobDigest, DiffId};
use tbuild_oci::{ArchiveFile, Descriptor, ImageConfig, Manifest, Reference, media_type};
use tbuild_registry::{PushBlob, RegistryClient, RegistryOptions, ServerOptions, router, serve};
use tbuild_store::Store;
use tbuild_store_local::LocalStore;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A store in a folder of its own.
pub struct Shelf {
    pub store: Arc<LocalStore>,
    pub folder: tempfile::TempDir,
}

impl Shelf {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalStore::open(&folder.path().join("store")).unwrap());
        Self { store, folder }
    }

    pub fn dynamic(&self) -> Arc<dyn Store> {
        self.store.clone()
    }
}

/// Our registry over a store of its own.
pub struct Ours {
    pub shelf: Shelf,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

impl Ours {
    pub async fn start() -> Self {
        Self::with(ServerOptions::default()).await
    }

    pub async fn with(options: ServerOptions) -> Self {
        let shelf = Shelf::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let store = shelf.dynamic();
        let running = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            serve(store, listener, options, until).await.unwrap();
        });
        Self {
            shelf,
            address,
            stop: Some(stop),
            running,
        }
    }

    /// Asks it to end and waits until it has.
    pub async fn end(mut self) -> Shelf {
        self.stop.take().map(|stop| stop.send(()));
        self.running.await.unwrap();
        self.shelf
    }

    pub fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }
}

/// Serves any router; ends with the runtime.
pub async fn serve_router(router: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// Our routes over a store, to be wrapped.
pub fn routes(shelf: &Shelf) -> axum::Router {
    router(shelf.dynamic(), ServerOptions::default())
}

pub fn reference(address: SocketAddr, rest: &str) -> Reference {
    format!("{address}/{rest}").parse().unwrap()
}

/// Options that do not wait long.
pub fn options() -> RegistryOptions {
    RegistryOptions {
        backoff: Duration::from_millis(10),
        read_timeout: Duration::from_secs(20),
        ..RegistryOptions::default()
    }
}

pub fn client() -> RegistryClient {
    RegistryClient::new(options())
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tar with one file.
pub fn layer(name: &str, content: Vec<u8>) -> Vec<u8> {
    let size = content.len() as u64;
    let open: tbuild_oci::Opener<'_> =
        Box::new(move || Ok(Box::new(Cursor::new(content.clone())) as Box<dyn Read>));
    let file = ArchiveFile {
        path: name.to_owned(),
        size,
        open,
    };
    let mut tar = Vec::new();
    tbuild_oci::write_archive(&[file], &mut tar).unwrap();
    tar
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    tbuild_oci::compress(bytes, &mut packed).unwrap();
    packed
}

/// An image in memory.
#[derive(Clone)]
pub struct Image {
    pub media_type: String,
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    /// As they travel, with their media types.
    pub layers: Vec<(String, Vec<u8>)>,
    pub diff_ids: Vec<DiffId>,
}

impl Image {
    /// Of layers as (media type, as it travels, its tar).
    pub fn new(layers: Vec<(&str, Vec<u8>, &[u8])>, platform: (&str, &str)) -> Self {
        let mut config = ImageConfig::scratch(platform.0, platform.1);
        config.rootfs.diff_ids = layers.iter().map(|(_, _, tar)| DiffId::of(tar)).collect();
        let diff_ids = config.rootfs.diff_ids.clone();
        let config = config.to_bytes();
        let describe = |kind: &str, bytes: &[u8]| {
            Descriptor::new(kind, BlobDigest::of(bytes), bytes.len() as u64)
        };
        let layers: Vec<(String, Vec<u8>)> = layers
            .into_iter()
            .map(|(kind, packed, _)| (kind.to_owned(), packed))
            .collect();
        let descriptors = layers.iter().map(|(kind, packed)| describe(kind, packed));
        let manifest = Manifest::new(describe(media_type::CONFIG, &config), descriptors.collect());
        Self {
            media_type: media_type::MANIFEST.to_owned(),
            manifest: manifest.to_bytes(),
            config,
            layers,
            diff_ids,
        }
    }

    /// Of two gzip layers.
    pub fn sample(seed: u64) -> Self {
        let one = layer("one", noise(seed, 300_000));
        let two = layer("folder/two", noise(seed + 1, 1_500_000));
        let layers = vec![
            (media_type::LAYER_GZIP, gzip(&one), one.as_slice()),
            (media_type::LAYER_GZIP, gzip(&two), two.as_slice()),
        ];
        Self::new(layers, ("linux", "amd64"))
    }

    pub fn digest(&self) -> BlobDigest {
        BlobDigest::of(&self.manifest)
    }

    /// Its blobs: config and layers.
    pub fn blobs(&self) -> Vec<PushBlob> {
        let config = (media_type::CONFIG.to_owned(), self.config.clone());
        let all = std::iter::once(&config).chain(&self.layers);
        all.map(|(kind, bytes)| blob(kind, bytes)).collect()
    }

    /// Bytes of its blobs.
    pub fn size(&self) -> u64 {
        self.blobs().iter().map(|blob| blob.descriptor.size).sum()
    }

    /// As an archive that other tools read.
    pub fn write_oci_archive(&self, path: &Path) {
        let layers = self.layers.iter().map(|(kind, bytes)| {
            let open: tbuild_oci::Opener<'_> =
                Box::new(move || Ok(Box::new(bytes.as_slice()) as Box<dyn Read>));
            (blob(kind, bytes).descriptor, open)
        });
        let names = ["image".to_owned()];
        let (files, _) = tbuild_oci::oci_layout(&self.config, layers.collect(), &names);
        let mut file = std::fs::File::create(path).unwrap();
        tbuild_oci::write_archive(&files, &mut file).unwrap();
    }
}

pub fn blob(kind: &str, bytes: &[u8]) -> PushBlob {
    let bytes = Arc::new(bytes.to_vec());
    let descriptor = Descriptor::new(kind, BlobDigest::of(&bytes), bytes.len() as u64);
    PushBlob::new(descriptor, move || {
        Ok(Box::new(Cursor::new(Shared(bytes.clone()))))
    })
}

struct Shared(Arc<Vec<u8>>);
impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Debian's docker-registry, started by the test on a loopback port.
pub struct Distribution {
    child: Child,
    pub address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Distribution {
    /// With more lines for the `http:` part of its configuration.
    pub async fn start(http: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let data = folder.path().join("data");
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\nhttp:\n  addr: {address}\n{http}",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("docker-registry starts; it is a package of Debian's");
        let mut this = Self {
            child,
            address,
            folder,
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(address).await.is_err() {
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none(), "docker-registry ended: {}", this.log());
            assert!(Instant::now() < deadline, "docker-registry is not up");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        this
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn reference(&self, rest: &str) -> Reference {
        reference(self.address, rest)
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy between client and registry that cuts connections.
pub struct Cutter {
    pub address: SocketAddr,
    /// Cuts made.
    pub cuts: Arc<AtomicU64>,
    /// Bytes passed to the registry.
    pub up: Arc<AtomicU64>,
    /// Bytes passed to the client.
    pub down: Arc<AtomicU64>,
}

impl Cutter {
    /// Cuts a connection once `after` bytes went one way in it, `times` times in all.
    pub async fn start(target: SocketAddr, after: u64, times: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            cuts: Arc::default(),
            up: Arc::default(),
            down: Arc::default(),
        };
        let (cuts, up, down) = (this.cuts.clone(), this.up.clone(), this.down.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(target).await else {
                    continue;
                };
                let (cuts, up, down) = (cuts.clone(), up.clone(), down.clone());
                tokio::spawn(async move {
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    let limit = |passed| Pass {
                        after,
                        times,
                        cuts: cuts.clone(),
                        passed,
                    };
                    // Whichever way ends first ends both: dropped halves close the connection.
                    tokio::select! {
                        () = limit(up).run(near_read, far_write) => {}
                        () = limit(down).run(far_read, near_write) => {}
                    }
                });
            }
        });
        this
    }
}

struct Pass {
    after: u64,
    times: u64,
    cuts: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
}

impl Pass {
    async fn run(
        self,
        mut from: impl tokio::io::AsyncRead + Unpin,
        mut to: impl tokio::io::AsyncWrite + Unpin,
    ) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut buffer = vec![0; 16 << 10];
        let mut here = 0;
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            here += count as u64;
            self.passed.fetch_add(count as u64, Ordering::SeqCst);
            let more = |cuts| (cuts < self.times).then_some(cuts + 1);
            let update =
                |cuts: &AtomicU64| cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
            if here >= self.after && update(&self.cuts).is_ok() {
                return;
            }
        }
    }
}

/// An HTTP client for requests that no registry client makes.
pub fn http() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let builder = reqwest::Client::builder().tls_backend_preconfigured(tls);
    builder.no_proxy().build().unwrap()
}

/// Runs a program that has to succeed.
pub async fn run(program: &str, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{program} runs: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A progress that nobody watches.
pub fn silent() -> Arc<dyn Fn(u64, u64) + Send + Sync> {
    Arc::new(|_, _| {})
}
