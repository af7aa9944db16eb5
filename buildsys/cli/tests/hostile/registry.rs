//! A registry that says what it likes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tbuild_digest::{BlobDigest, DiffId, Sha256};

/// Answers by path: media type and bytes.
type Answers = Arc<Mutex<BTreeMap<String, (String, Vec<u8>)>>>;

pub struct Registry {
    pub address: SocketAddr,
    answers: Answers,
    asked: Arc<AtomicUsize>,
}

impl Registry {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let registry = Self {
            address: listener.local_addr().expect("address"),
            answers: Answers::default(),
            asked: Arc::default(),
        };
        let (answers, asked) = (Arc::clone(&registry.answers), Arc::clone(&registry.asked));
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                std::thread::spawn(move || serve(stream, &answers, &asked));
            }
        });
        registry
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    pub fn put(&self, path: &str, kind: &str, bytes: Vec<u8>) {
        let mut answers = self.answers.lock().expect("no panic");
        answers.insert(path.to_owned(), (kind.to_owned(), bytes));
    }

    /// A blob, under its own digest.
    pub fn blob(&self, bytes: Vec<u8>) -> BlobDigest {
        let digest = BlobDigest::of(&bytes);
        self.blob_as(&digest, bytes);
        digest
    }

    /// A blob, under any digest.
    pub fn blob_as(&self, digest: &BlobDigest, bytes: Vec<u8>) {
        self.put(
            &format!("/v2/evil/blobs/{digest}"),
            "application/octet-stream",
            bytes,
        );
    }

    /// The manifest of `evil:1`.
    pub fn manifest(&self, text: &str) {
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let digest = BlobDigest::of(text.as_bytes());
        for name in ["1", &digest.to_string()] {
            self.put(
                &format!("/v2/evil/manifests/{name}"),
                kind,
                text.as_bytes().to_vec(),
            );
        }
    }

    /// What stands in FROM.
    pub fn name(&self) -> String {
        format!("{}/evil:1", self.address)
    }

    /// An image with one layer, all of it true.
    pub fn image(&self, layer: &[u8], diff_id: &DiffId) -> Image {
        let config = config(&[*diff_id]);
        Image {
            config: (self.blob(config.clone()), config.len() as u64),
            layer: (self.blob(layer.to_vec()), layer.len() as u64),
        }
    }

    /// An image whose layer is this tar, unpacked.
    pub fn layer(&self, tar: &[u8]) {
        let image = self.image(tar, &DiffId(Sha256::of(tar)));
        self.manifest(&image.manifest(""));
    }
}

/// What a manifest names: digests and sizes.
#[derive(Clone)]
pub struct Image {
    pub config: (BlobDigest, u64),
    pub layer: (BlobDigest, u64),
}

impl Image {
    /// The manifest; `more` stands in the descriptor of the layer.
    pub fn manifest(&self, more: &str) -> String {
        self.manifest_with(&self.layer.1.to_string(), more)
    }

    /// The same with any text as the size of the layer.
    pub fn manifest_with(&self, size: &str, more: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{size}{more}}}]}}"#,
            self.config.0, self.config.1, self.layer.0
        )
    }
}

/// A config with these layers.
pub fn config(layers: &[DiffId]) -> Vec<u8> {
    let layers: Vec<String> = layers.iter().map(|layer| format!("\"{layer}\"")).collect();
    format!(
        r#"{{"architecture":"{}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        layers.join(",")
    )
    .into_bytes()
}

fn serve(mut stream: TcpStream, answers: &Answers, asked: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        let mut words = first.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return;
        };
        // What begins TLS is no request.
        if !matches!(method, "GET" | "HEAD") {
            return;
        }
        asked.fetch_add(1, Ordering::Relaxed);
        let found = answers.lock().expect("no panic").get(path).cloned();
        let (status, kind, body) = match (path, found) {
            (_, Some((kind, body))) => ("200 OK", kind, body),
            ("/v2/", None) => ("200 OK", "application/json".to_owned(), b"{}".to_vec()),
            _ => ("404 Not Found", "text/plain".to_owned(), Vec::new()),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { Vec::new() } else { body };
        if stream
            .write_all(&[head.into_bytes(), body].concat())
            .is_err()
        {
            return;
        }
    }
}
