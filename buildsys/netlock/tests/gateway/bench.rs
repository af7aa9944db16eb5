//! Gateways to put between clients and servers.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tbuild_netlock::{
    Authority, Entry, Gateway, Guard, Journal, Limits, Mode, Places, Sockets, Upstream,
};
use tbuild_store_local::LocalStore;

/// The origin's.
pub const NAME: &str = "origin.example.com";

/// A store, and what signs for names.
pub struct Bench {
    _folder: tempfile::TempDir,
    store: Arc<LocalStore>,
    authority: Arc<Authority>,
    /// Whom gateways trust.
    pub trusted: Vec<CertificateDer<'static>>,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = LocalStore::open(&folder.path().join("store")).expect("a store");
        let key = Authority::generate_key().expect("a key");
        Self {
            _folder: folder,
            store: Arc::new(store),
            authority: Arc::new(Authority::of_key(&key, "test").expect("an authority")),
            trusted: Vec::new(),
        }
    }

    /// Serves on 127.0.0.2 at the origin's port; the journal, and a client that knows the name by that address.
    pub fn gateway(
        &self,
        mode: Mode,
        port: u16,
        entries: Vec<Entry>,
        limits: Limits,
    ) -> (Arc<Journal>, reqwest::Client) {
        let journal = Arc::new(Journal::of(entries));
        let direct: SocketAddr = ([127, 0, 0, 1], port).into();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&self.trusted))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let client = if limits.local {
            client.resolve(NAME, direct)
        } else {
            client.dns_resolver(Guard::default())
        };
        let client = client.build().expect("a client");
        let store: Arc<dyn tbuild_store::Store> = Arc::<LocalStore>::clone(&self.store);
        let gateway = Gateway::new(
            mode,
            store,
            Arc::clone(&self.authority),
            Arc::clone(&journal),
            Places::default(),
            Upstream::new(client, limits, false),
        );
        let web = TcpListener::bind(("127.0.0.2", port)).expect("bound");
        let sockets = Sockets {
            names: UdpSocket::bind("127.0.0.1:0").expect("bound"),
            names_tcp: TcpListener::bind("127.0.0.1:0").expect("bound"),
            web: vec![web],
        };
        tokio::spawn(Arc::new(gateway).serve(sockets));
        let own = CertificateDer::from_pem_slice(self.authority.certificate().as_bytes());
        let own = own.expect("PEM");
        let there: SocketAddr = ([127, 0, 0, 2], port).into();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&[own]))
            .redirect(reqwest::redirect::Policy::none())
            .resolve(NAME, there)
            .no_proxy()
            .build()
            .expect("a client");
        (journal, client)
    }
}

/// How a client that trusts these speaks TLS.
fn tls(trusted: &[CertificateDer<'static>]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).expect("trusted");
    }
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_root_certificates(roots)
    .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

/// Origins are on this machine.
pub const LOCAL: Limits = Limits {
    request: 1 << 20,
    answer: 1 << 30,
    local: true,
};

/// Status, content type and body of a request with one header.
pub async fn get(
    client: &reqwest::Client,
    url: &str,
    (name, value): (&str, &str),
) -> (u16, String, Vec<u8>) {
    let response = client
        .get(url)
        .header(name, value)
        .send()
        .await
        .expect("answered");
    let status = response.status().as_u16();
    assert!(
        !response.headers().contains_key("set-cookie"),
        "cookies are kept by nobody"
    );
    let kind = response
        .headers()
        .get("content-type")
        .map_or("", |kind| kind.to_str().expect("text"))
        .to_owned();
    (status, kind, response.bytes().await.expect("read").to_vec())
}

/// A header that says nothing.
pub const PLAIN: (&str, &str) = ("x-nothing", "1");
