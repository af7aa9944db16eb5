//! A gateway between real clients and real servers on loopback: recorded, then replayed with the server gone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tbuild_netlock::{Authority, Entry, Gateway, Journal, Limits, Mode, Places, Sockets, Upstream};
use tbuild_store_local::LocalStore;

const NAME: &str = "origin.example.com";

/// An origin: answers by path, counts what it is asked.
struct Origin {
    port: u16,
    asked: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

fn reply(request: &str, body: &[u8], count: usize) -> Vec<u8> {
    let path = request.split(' ').nth(1).unwrap_or_default();
    let ok = |headers: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nSet-Cookie: secret=1\r\nDate: {count}\r\n{headers}\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    match path {
        "/file" => ok("Content-Type: text/plain\r\nETag: \"1\"\r\n", &vec![b'x'; 300_000]),
        "/count" => ok("", count.to_string().as_bytes()),
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec(),
        "/moved" => b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/none" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec(),
        "/busy" => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/varies" if request.contains("application/json") => ok("Vary: Accept\r\n", b"{}"),
        "/varies" => ok("Vary: Accept\r\n", b"<p>"),
        "/lies" => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
        "/large" => b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        "/post" => ok("", &[b"got ", body].concat()),
        _ => ok("", b"other"),
    }
}

fn serve(mut stream: TcpStream, asked: &AtomicUsize, seen: &Mutex<Vec<String>>) {
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |text| text.parse().expect("a number"));
        while buffer.len() < end + length {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        let body: Vec<u8> = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
        seen.lock().expect("no thread panics").push(head.clone());
        let sent = reply(&head, &body, count);
        if stream.write_all(&sent).is_err() || head.contains("/lies") || head.contains("/large") {
            return;
        }
    }
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::clone(&asked), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, seen) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
                let stream = stream.expect("a connection");
                std::thread::spawn(move || serve(stream, &asked, &seen));
            }
        });
        Self { port, asked, seen }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Bench {
    _folder: tempfile::TempDir,
    store: Arc<LocalStore>,
    authority: Arc<Authority>,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = LocalStore::open(&folder.path().join("store")).expect("a store");
        let key = Authority::generate_key().expect("a key");
        Self {
            _folder: folder,
            store: Arc::new(store),
            authority: Arc::new(Authority::of_key(&key, "test").expect("an authority")),
        }
    }

    /// Serves on 127.0.0.2 at the origin's port; the journal, and a client that knows the name by that address.
    fn gateway(
        &self,
        mode: Mode,
        port: u16,
        entries: Vec<Entry>,
        limits: Limits,
    ) -> (Arc<Journal>, reqwest::Client) {
        let journal = Arc::new(Journal::of(entries));
        let direct: SocketAddr = ([127, 0, 0, 1], port).into();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(None))
            .redirect(reqwest::redirect::Policy::none())
            .resolve(NAME, direct)
            .build()
            .expect("a client");
        let store: Arc<dyn tbuild_store::Store> = Arc::<LocalStore>::clone(&self.store);
        let gateway = Gateway::new(
            mode,
            store,
            Arc::clone(&self.authority),
            Arc::clone(&journal),
            Places::default(),
            Upstream {
                client,
                limits,
                refill: false,
            },
        );
        let web = TcpListener::bind(("127.0.0.2", port)).expect("bound");
        let sockets = Sockets {
            names: UdpSocket::bind("127.0.0.1:0").expect("bound"),
            names_tcp: TcpListener::bind("127.0.0.1:0").expect("bound"),
            web: vec![web],
        };
        tokio::spawn(Arc::new(gateway).serve(sockets));
        let there: SocketAddr = ([127, 0, 0, 2], port).into();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(Some(&self.authority)))
            .redirect(reqwest::redirect::Policy::none())
            .resolve(NAME, there)
            .no_proxy()
            .build()
            .expect("a client");
        (journal, client)
    }
}

fn tls(authority: Option<&Authority>) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    if let Some(authority) = authority {
        let pem = authority.certificate().as_bytes();
        let certificate = rustls::pki_types::CertificateDer::from_pem_slice(pem).expect("PEM");
        roots.add(certificate).expect("trusted");
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

const LOCAL: Limits = Limits {
    request: 1 << 20,
    answer: 1 << 30,
    local: true,
};

async fn posts_and_heads_are_answered(client: &reqwest::Client, site: &str) {
    let post = client.post(format!("{site}/post")).body("one");
    let posted = post.send().await.expect("answered");
    assert_eq!(posted.bytes().await.expect("read"), "got one");
    let head = client.head(format!("{site}/file")).send().await;
    let head = head.expect("answered");
    assert_eq!(head.headers()["content-length"], "300000");
}

/// Status, content type and body of a request with one header.
async fn get(
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

const PLAIN: (&str, &str) = ("x-nothing", "1");

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_replayed_without_a_connection() {
    let origin = Origin::start();
    let bench = Bench::new();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    let questions = [
        ("/file", PLAIN),
        ("/file", ("range", "bytes=10-19")),
        ("/chunked", PLAIN),
        ("/moved", PLAIN),
        ("/none", PLAIN),
        ("/count", PLAIN),
        ("/varies", ("accept", "application/json")),
        ("/varies", ("accept", "text/html")),
        ("/file?query=1", ("if-none-match", "\"1\"")),
    ];
    let mut first = Vec::new();
    for (path, header) in questions {
        first.push(get(&client, &format!("{site}{path}"), header).await);
    }
    assert_eq!(first[1], (206, "text/plain".to_owned(), vec![b'x'; 10]));
    assert_eq!(
        (&first[2].2[..], first[3].0, first[4].0),
        (&b"abcdefg"[..], 302, 404)
    );
    assert_eq!(
        (&first[6].2[..], &first[7].2[..]),
        (&b"{}"[..], &b"<p>"[..])
    );
    posts_and_heads_are_answered(&client, &site).await;
    // A repeated question is answered alike, whatever the origin would say now.
    assert_eq!(
        get(&client, &format!("{site}/count"), PLAIN).await,
        first[5]
    );
    let asked = origin.asked();
    let entries = journal.entries();
    assert!(journal.failures().is_empty(), "{:?}", journal.failures());
    let seen = origin.seen.lock().expect("no thread panics").join("");
    assert!(
        !seen.contains("range:") && !seen.contains("if-none-match:"),
        "{seen}"
    );
    drop(client);

    let other = TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("an address")
        .port();
    let recorded: Vec<Entry> = entries
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            entry.request.origin = entry
                .request
                .origin
                .replace(&origin.port.to_string(), &other.to_string());
            entry
        })
        .collect();
    let (journal, client) = bench.gateway(Mode::Replay, other, recorded, LOCAL);
    let site = format!("http://{NAME}:{other}");
    for ((path, header), before) in questions.into_iter().zip(&first) {
        assert_eq!(
            get(&client, &format!("{site}{path}"), header).await,
            *before,
            "{path}"
        );
    }
    posts_and_heads_are_answered(&client, &site).await;
    let (status, _, body) = get(&client, &format!("{site}/fil"), PLAIN).await;
    let body = String::from_utf8(body).expect("text");
    assert_eq!(status, 502);
    assert!(
        body.contains("/fil is not recorded; the nearest is") && body.contains("/file"),
        "{body}"
    );
    let posted = client
        .post(format!("{site}/post"))
        .body("two")
        .send()
        .await
        .expect("answered");
    assert_eq!(posted.status().as_u16(), 502);
    assert_eq!(journal.misses().len(), 2);
    assert_eq!(origin.asked(), asked, "nothing is asked while replaying");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_taken_by_any_name_and_speaks_http_2() {
    let bench = Bench::new();
    let origin = Origin::start();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    get(&client, &format!("{site}/file"), PLAIN).await;
    let entries = journal.entries().into_iter().map(|mut entry| {
        entry.request.origin = entry.request.origin.replace("http://", "https://");
        entry
    });
    drop(client);
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("an address")
        .port();
    let entries = entries
        .map(|mut entry| {
            entry.request.origin = entry
                .request
                .origin
                .replace(&origin.port.to_string(), &port.to_string());
            entry
        })
        .collect();
    let (_, client) = bench.gateway(Mode::Replay, port, entries, LOCAL);
    let url = format!("https://{NAME}:{port}/file");
    let response = client.get(&url).send().await.expect("trusted");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.bytes().await.expect("read").len(), 300_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_origins_must_not_do() {
    let origin = Origin::start();
    let bench = Bench::new();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    // A body shorter than promised is an error for the program, and not recorded.
    let short = client.get(format!("{site}/lies")).send().await;
    let read = match short {
        Ok(response) => response.bytes().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(read.is_err(), "a lie about the length passes");
    // More than the limit.
    let large = client.get(format!("{site}/large")).send().await;
    let read = match large {
        Ok(response) => response.bytes().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(read.is_err(), "more than the limit passes");
    // A server's own trouble passes, and is not recorded.
    assert_eq!(get(&client, &format!("{site}/busy"), PLAIN).await.0, 503);
    // More than may be sent.
    let sent = client
        .post(format!("{site}/post"))
        .body(vec![0; 2 << 20])
        .send()
        .await
        .expect("answered");
    assert_eq!(sent.status().as_u16(), 413);
    assert_eq!(journal.entries(), []);
    assert_eq!(journal.failures().len(), 2, "{:?}", journal.failures());
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_no_origin() {
    let origin = Origin::start();
    let bench = Bench::new();
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], Limits::default());
    for host in [NAME, "localhost"] {
        let url = format!("http://{NAME}:{}/file", origin.port);
        let named = format!("{host}:{}", origin.port);
        let (status, _, body) = get(&client, &url, ("host", &named)).await;
        assert_eq!(status, 502);
        assert!(
            String::from_utf8_lossy(&body).contains("on this machine"),
            "{host}"
        );
    }
    assert_eq!(journal.entries(), []);
}
