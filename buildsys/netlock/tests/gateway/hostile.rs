//! Origins that do what they must not: nothing of it is recorded, and what is refused is named.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tbuild_netlock::{Limits, Mode};

use crate::bench::{Bench, LOCAL, NAME, PLAIN, get};

/// As much as an origin sends that goes on and on.
const TEN_GIGABYTES: u64 = 10 << 30;

/// Sends what a path asks for; whether another request may follow.
type Answer = fn(path: &str, count: usize, stream: &mut dyn Write) -> io::Result<bool>;

/// An origin on 127.0.0.1.
struct Origin {
    port: u16,
    asked: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

/// Counts what goes through.
struct Counted<'a>(&'a mut dyn Write, &'a AtomicU64);

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.fetch_add(count as u64, Ordering::SeqCst);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Origin {
    fn start(answer: Answer) -> Self {
        Self::listen(move |mut stream, asked, sent| {
            while let Ok(path) = path_of(&mut stream) {
                let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let mut counted = Counted(&mut stream, sent);
                if !matches!(answer(&path, count, &mut counted), Ok(true)) {
                    return;
                }
            }
        })
    }

    fn listen(serve: impl Fn(TcpStream, &AtomicUsize, &AtomicU64) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let (asked, sent) = <(Arc<AtomicUsize>, Arc<AtomicU64>)>::default();
        let (serve, counts) = (Arc::new(serve), (Arc::clone(&asked), Arc::clone(&sent)));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (serve, counts) = (Arc::clone(&serve), counts.clone());
                std::thread::spawn(move || serve(stream, &counts.0, &counts.1));
            }
        });
        Self { port, asked, sent }
    }
}

/// Reads a request without a body.
fn path_of(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    Ok(head.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// What a program makes of an answer: its body, or that it cannot be read or was refused.
async fn body(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let response = client.get(url).send().await;
    let response = response.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.bytes().await.map_err(|error| error.to_string())?;
    if status == reqwest::StatusCode::OK {
        return Ok(body.to_vec());
    }
    Err(String::from_utf8_lossy(&body).into_owned())
}

fn lies(path: &str, _: usize, stream: &mut dyn Write) -> io::Result<bool> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = match path {
        "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_owned(),
        "/two-lengths" => {
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde".to_owned()
        }
        "/half-a-chunk" => format!("{chunked}5\r\nabc"),
        "/no-last-chunk" => format!("{chunked}3\r\nabc\r\n"),
        "/no-chunk" => format!("{chunked}many\r\nabc\r\n0\r\n\r\n"),
        "/no-http" => "220 ready\r\n".to_owned(),
        "/headers" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0..TEN_GIGABYTES / 8 {
                write!(stream, "X-{number}: 1\r\n")?;
            }
            return Ok(false);
        }
        // One answer to one question, and another one that nobody asked for.
        "/long" => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
            .to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood".to_owned(),
    };
    stream.write_all(text.as_bytes())?;
    Ok(path == "/long" || path == "/good")
}

#[tokio::test(flavor = "multi_thread")]
async fn lies_about_lengths_are_not_recorded() {
    let origin = Origin::start(lies);
    let bench = Bench::new();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    let paths = [
        "short",
        "two-lengths",
        "half-a-chunk",
        "no-last-chunk",
        "no-chunk",
        "no-http",
        "headers",
    ];
    for path in paths {
        let read = body(&client, &format!("{site}/{path}")).await;
        assert!(read.is_err(), "{path}: {read:?}");
        let failures = journal.failures();
        let named = failures.last().is_some_and(|last| last.contains(path));
        assert!(named, "{path}: {failures:?}");
    }
    assert_eq!(journal.entries(), []);
    assert_eq!(journal.failures().len(), paths.len());
    // What follows the end of an answer is no answer to the next question.
    for (path, content) in [("long", "abc"), ("good", "good"), ("long", "abc")] {
        let read = body(&client, &format!("{site}/{path}")).await;
        assert_eq!(read.as_deref(), Ok(content.as_bytes()), "{path}");
    }
    assert_eq!(journal.entries().len(), 2);
}

fn endless(path: &str, _: usize, stream: &mut dyn Write) -> io::Result<bool> {
    static PIECE: [u8; 0x10000] = [b'x'; 0x10000];
    let head = match path {
        "/promised" => format!("Content-Length: {TEN_GIGABYTES}\r\n"),
        "/chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
        _ => "Connection: close\r\n".to_owned(),
    };
    write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n")?;
    for _ in 0..TEN_GIGABYTES / PIECE.len() as u64 {
        if path == "/chunked" {
            write!(stream, "{:x}\r\n", PIECE.len())?;
        }
        stream.write_all(&PIECE)?;
        if path == "/chunked" {
            stream.write_all(b"\r\n")?;
        }
    }
    Ok(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_gigabytes_are_cut_off() {
    const LIMIT: u64 = 1 << 20;
    let origin = Origin::start(endless);
    let bench = Bench::new();
    let site = format!("http://{NAME}:{}", origin.port);
    let limits = Limits {
        answer: LIMIT,
        ..LOCAL
    };
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], limits);
    for path in ["promised", "chunked", "until-the-end"] {
        let read = body(&client, &format!("{site}/{path}")).await;
        assert!(read.is_err(), "{path}");
        let failures = journal.failures();
        let last = failures.last().map(String::as_str).unwrap_or_default();
        let why = format!("/{path} has more than the {LIMIT} bytes that one answer may have");
        assert!(last.contains(&why), "{path}: {failures:?}");
    }
    assert_eq!(journal.entries(), []);
    // What lies in the sockets' buffers is sent as well.
    let sent = origin.sent.load(Ordering::SeqCst);
    assert!(sent < TEN_GIGABYTES / 100, "{sent} bytes were sent");
}

fn counts(path: &str, count: usize, stream: &mut dyn Write) -> io::Result<bool> {
    if path == "/slow" {
        // Long enough for the other one to ask, too.
        std::thread::sleep(Duration::from_millis(300));
    }
    let body = format!("state {count}");
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    Ok(true)
}

/// What an origin says twice it may say in two ways; programs that ask at once are told one.
#[tokio::test(flavor = "multi_thread")]
async fn all_programs_see_one_state() {
    let origin = Origin::start(counts);
    let bench = Bench::new();
    let url = format!("http://{NAME}:{}/slow", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    let (one, other, third) = tokio::join!(
        body(&client, &url),
        body(&client, &url),
        get(&client, &url, ("range", "bytes=6-"))
    );
    assert_eq!(one.as_deref(), Ok(&b"state 1"[..]));
    assert_eq!(other, one);
    assert_eq!(third.2, b"1");
    assert_eq!(body(&client, &url).await, one);
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);
    assert_eq!(journal.entries().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn troubles_and_long_questions_are_not_recorded() {
    let busy = |_: &str, _: usize, stream: &mut dyn Write| {
        stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")?;
        Ok(true)
    };
    let origin = Origin::start(busy);
    let bench = Bench::new();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    assert_eq!(get(&client, &format!("{site}/busy"), PLAIN).await.0, 503);
    let post = client.post(format!("{site}/post")).body(vec![0; 2 << 20]);
    let sent = post.send().await.expect("answered");
    assert_eq!(sent.status().as_u16(), 413);
    assert_eq!(origin.asked.load(Ordering::SeqCst), 1);
    assert_eq!(journal.entries(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_no_origin() {
    let origin = Origin::start(lies);
    let bench = Bench::new();
    let url = format!("http://{NAME}:{}/good", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], Limits::default());
    let hosts = [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[fe80::1]",
    ];
    for host in hosts {
        let named = format!("{host}:{}", origin.port);
        let (status, _, body) = get(&client, &url, ("host", &named)).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status, 502, "{host}: {body}");
        let said = "is on this machine or on its own link";
        assert!(body.contains(said), "{host}: {body}");
    }
    assert_eq!(origin.asked.load(Ordering::SeqCst), 0);
    assert_eq!(journal.entries(), []);
}

/// An authority of the tests', and certificates for the origin's name.
struct Signer {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Signer {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::default();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).expect("signed").der().clone();
        Self {
            issuer: rcgen::Issuer::new(parameters, key),
            certificate,
        }
    }

    /// An origin with a certificate for `name` that ends in `year`.
    fn origin(&self, name: &str, year: i32) -> Origin {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let leaf = parameters.signed_by(&key, &self.issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("a certificate");
        let config = Arc::new(config);
        Origin::listen(move |stream, asked, _| {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("TLS");
            let mut tls = rustls::StreamOwned::new(connection, stream);
            if let Ok(path) = path_of(&mut tls) {
                asked.fetch_add(1, Ordering::SeqCst);
                let _sent = lies(&path, 0, &mut tls);
                let _flushed = tls.flush();
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_have_to_show_who_they_are() {
    let (known, unknown) = (Signer::new("known"), Signer::new("unknown"));
    let mut bench = Bench::new();
    bench.trusted.push(known.certificate.clone());
    let cases = [
        (known.origin(NAME, 2049), None),
        (known.origin(NAME, 2002), Some("certificate expired")),
        (
            known.origin("other.example.com", 2049),
            Some("certificate not valid for name"),
        ),
        (unknown.origin(NAME, 2049), Some("UnknownIssuer")),
    ];
    for (origin, refused) in cases {
        let url = format!("https://{NAME}:{}/good", origin.port);
        let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
        let read = body(&client, &url).await;
        let Some(why) = refused else {
            assert_eq!(read.as_deref(), Ok(&b"good"[..]));
            continue;
        };
        let said = read.expect_err("refused");
        let named = format!("{url} cannot be had: ");
        assert!(said.contains(&named) && said.contains(why), "{said}");
        assert!(journal.failures()[0].contains(why));
        assert_eq!(journal.entries(), []);
        assert_eq!(origin.asked.load(Ordering::SeqCst), 0);
    }
}
