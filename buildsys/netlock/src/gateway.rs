//! The gateway: takes what a step sends to any name, and answers as the mode says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HOST};
use http::uri::Authority as Place;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tbuild_digest::{BlobDigest, Sha256};
use tbuild_store::Store;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::authority::{Authority, ByName};
use crate::body::{self, Body};
use crate::entry::{Entry, Request, is_lasting, kept};
use crate::headers::{forwarded, range};
use crate::journal::{Journal, Mode};
use crate::names::{Names, answer};
use crate::upstream::{Limits, Upstream, UpstreamError};

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_mins(1);

/// Sockets that were opened inside a step's network namespace.
#[derive(Debug)]
pub struct Sockets {
    /// Port 53, for names.
    pub names: std::net::UdpSocket,
    /// The same for answers that are long, and for clients that prefer it.
    pub names_tcp: std::net::TcpListener,
    /// Ports for HTTP and TLS, whichever comes.
    pub web: Vec<std::net::TcpListener>,
}

/// Takes the requests of one step.
#[derive(Debug)]
pub struct Gateway {
    mode: Mode,
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    journal: Arc<Journal>,
    upstream: Upstream,
    names: Names,
}

/// Where a connection leads.
#[derive(Debug, Clone)]
struct Target {
    scheme: &'static str,
    /// The name or address that the client connected to.
    name: String,
    port: u16,
}

impl Gateway {
    /// A gateway. `client` asks origins, with the machine's trust and proxies; it must follow no redirect and
    /// decompress nothing. With [`Mode::Replay`] it is not used.
    pub fn new(
        mode: Mode,
        store: Arc<dyn Store>,
        authority: Arc<Authority>,
        journal: Arc<Journal>,
        client: reqwest::Client,
        limits: Limits,
    ) -> Self {
        Self {
            mode,
            store,
            authority,
            journal,
            upstream: Upstream { client, limits },
            names: Names::default(),
        }
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>, sockets: Sockets) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        sockets.names.set_nonblocking(true)?;
        let names = UdpSocket::from_std(sockets.names)?;
        let gateway = Arc::clone(&self);
        tasks.spawn(async move { gateway.answer_names(&names).await });
        sockets.names_tcp.set_nonblocking(true)?;
        let names = TcpListener::from_std(sockets.names_tcp)?;
        let gateway = Arc::clone(&self);
        tasks.spawn(async move { gateway.accept_names(&names).await });
        for listener in sockets.web {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            let gateway = Arc::clone(&self);
            tasks.spawn(async move { gateway.accept(&listener).await });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    }

    async fn answer_names(&self, socket: &UdpSocket) -> io::Result<()> {
        let mut buffer = vec![0; 4096];
        loop {
            // A client that is gone by now shows as an error of the next call.
            let Ok((count, from)) = socket.recv_from(&mut buffer).await else {
                continue;
            };
            if let Some(reply) = answer(&buffer[..count], &self.names) {
                let _gone = socket.send_to(&reply, from).await;
            }
        }
    }

    async fn accept_names(self: Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        loop {
            let (mut stream, _) = listener.accept().await?;
            let gateway = Arc::clone(&self);
            tokio::spawn(async move {
                // RFC 1035, section 4.2.2: two bytes of length before each message.
                while let Ok(length) = stream.read_u16().await {
                    let mut query = vec![0; usize::from(length)];
                    let Ok(_) = stream.read_exact(&mut query).await else {
                        break;
                    };
                    let Some(reply) = answer(&query, &gateway.names) else {
                        break;
                    };
                    let mut bytes = (reply.len() as u16).to_be_bytes().to_vec();
                    bytes.extend(reply);
                    if stream.write_all(&bytes).await.is_err() {
                        break;
                    }
                }
            });
        }
    }

    async fn accept(self: Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let gateway = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(error) = gateway.connection(stream).await {
                    tracing::debug!(%error, "a connection of a step ends");
                }
            });
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        // The first byte of a TLS record is its type, 22 for a handshake (RFC 8446, section 5.1).
        const HANDSHAKE: u8 = 22;
        let local = stream.local_addr()?;
        let name = self.name_of(local);
        let mut first = [0];
        let peeked = tokio::time::timeout(PATIENCE, stream.peek(&mut first)).await;
        if peeked?? == 0 {
            return Ok(());
        }
        let port = local.port();
        if first[0] != HANDSHAKE {
            let target = Target {
                scheme: "http",
                name,
                port,
            };
            return self.http(stream, target).await;
        }
        let resolver = ByName {
            authority: Arc::clone(&self.authority),
            otherwise: name.clone(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let tls = match tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await? {
            Ok(tls) => tls,
            Err(error) => {
                self.journal.fail(format!(
                    "{name}: the step's program broke off the TLS handshake, as one that trusts no certificate of \
                     tbuild's does ({error})"
                ));
                return Err(error);
            }
        };
        let asked = tls.get_ref().1.server_name().map(str::to_owned);
        let target = Target {
            scheme: "https",
            name: asked.unwrap_or(name),
            port,
        };
        self.http(tls, target).await
    }

    fn name_of(&self, local: SocketAddr) -> String {
        match local.ip() {
            IpAddr::V4(address) => self.names.name(address),
            IpAddr::V6(_) => None,
        }
        .unwrap_or_else(|| local.ip().to_string())
    }

    async fn http<S>(self: Arc<Self>, stream: S, target: Target) -> io::Result<()>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let (gateway, target) = (Arc::clone(&self), target.clone());
            async move { Ok::<_, Infallible>(gateway.answer(request, &target).await) }
        });
        hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
            .map_err(io::Error::other)
    }

    async fn answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        target: &Target,
    ) -> Response<Body> {
        match self.try_answer(request, target).await {
            Ok(response) => response,
            Err((status, why)) => {
                let mut response = Response::new(body::text(format!("tbuild: {why}\n")));
                *response.status_mut() = status;
                response
            }
        }
    }

    async fn try_answer(
        self: Arc<Self>,
        request: http::Request<Incoming>,
        target: &Target,
    ) -> Result<Response<Body>, (StatusCode, String)> {
        let url = url(&request, target).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
        let (head, sent) = request.into_parts();
        if head.method == Method::CONNECT {
            let why = "no proxy is needed here: names lead to the gateway by themselves";
            return Err((StatusCode::METHOD_NOT_ALLOWED, why.to_owned()));
        }
        let most = usize::try_from(self.upstream.limits.request).unwrap_or(usize::MAX);
        let sent = Limited::new(sent, most).collect().await.map_err(|error| {
            let why = format!("cannot read what is sent to {url}: {error}");
            (StatusCode::PAYLOAD_TOO_LARGE, why)
        })?;
        let sent = sent.to_bytes();
        let wanted = Request {
            url,
            method: head.method.to_string(),
            body: (!sent.is_empty()).then(|| BlobDigest(Sha256::of(&sent))),
        };
        if let Some(entry) = self.recorded(&wanted, &head.method, &head.headers)
            && let Some(response) = self.replay(&entry, &head.method, &head.headers)?
        {
            return Ok(response);
        }
        if self.mode == Mode::Replay {
            let miss = self.journal.miss(wanted);
            let near = miss
                .nearest
                .map_or(String::new(), |url| format!("; the nearest is {url}"));
            let why = format!(
                "{} {} is not recorded{near}",
                miss.request.method, miss.request.url
            );
            return Err((StatusCode::BAD_GATEWAY, why));
        }
        let asked = self.upstream.ask(
            head.method.clone(),
            &wanted.url,
            forwarded(&head.headers),
            sent,
        );
        match asked.await {
            Ok(response) => self.record(wanted, head, response).await,
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &UpstreamError) -> (StatusCode, String) {
        let why = error.to_string();
        self.journal.fail(why.clone());
        (StatusCode::BAD_GATEWAY, why)
    }

    /// The recorded answer to a request; to HEAD, that to GET is as good.
    fn recorded(&self, wanted: &Request, method: &Method, headers: &HeaderMap) -> Option<Entry> {
        self.journal.find(wanted, headers).or_else(|| {
            let get = Request {
                method: Method::GET.to_string(),
                ..wanted.clone()
            };
            (method == Method::HEAD).then(|| self.journal.find(&get, headers))?
        })
    }

    /// Answers with what was recorded; None where its bytes are not in the store.
    fn replay(
        &self,
        entry: &Entry,
        method: &Method,
        asked: &HeaderMap,
    ) -> Result<Option<Response<Body>>, (StatusCode, String)> {
        let broken = |why: String| (StatusCode::BAD_GATEWAY, why);
        let blob = self
            .store
            .open_blob(&entry.sha256)
            .map_err(|error| broken(error.to_string()))?;
        let Some(blob) = blob else {
            if self.mode == Mode::Replay {
                let why = format!(
                    "{} is recorded, but its bytes ({}) are not in the store",
                    entry.request.url, entry.sha256
                );
                self.journal.fail(why.clone());
                return Err(broken(why));
            }
            return Ok(None);
        };
        let mut response = Response::new(body::empty());
        *response.status_mut() =
            StatusCode::from_u16(entry.status).map_err(|error| broken(error.to_string()))?;
        *response.headers_mut() = header_map(&entry.headers);
        let headers = response.headers_mut();
        let is_whole = entry.status == StatusCode::OK.as_u16() && method == Method::GET;
        let cut = if is_whole {
            range(asked, entry.size)
        } else {
            Ok(None)
        };
        if is_whole {
            headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let (first, size) = match cut {
            Ok(None) => (0, entry.size),
            Ok(Some((first, last))) => {
                let text = format!("bytes {first}-{last}/{}", entry.size);
                headers.insert(CONTENT_RANGE, value(&text));
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                (first, last - first + 1)
            }
            Err(()) => {
                headers.insert(CONTENT_RANGE, value(&format!("bytes */{}", entry.size)));
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(Some(response));
            }
        };
        let has_body = !matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if has_body && entry.request.method != Method::HEAD.as_str() {
            response
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        if method != Method::HEAD && has_body {
            *response.body_mut() = body::of_blob(blob, first, size);
        }
        Ok(Some(response))
    }

    /// Writes an answer down while it is passed on.
    async fn record(
        self: Arc<Self>,
        wanted: Request,
        head: http::request::Parts,
        response: reqwest::Response,
    ) -> Result<Response<Body>, (StatusCode, String)> {
        let status = response.status();
        let answered = response.headers().clone();
        let mut headers = header_map(&kept(&answered));
        if let Some(size) = response.content_length() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        // Ranges are cut from what is whole.
        let is_cut = head.method == Method::GET
            && status == StatusCode::OK
            && head.headers.contains_key(http::header::RANGE);
        let (sender, receiver) = mpsc::channel(16);
        let gateway = Arc::clone(&self);
        let method = head.method.clone();
        let asked = head.headers.clone();
        let listener = sender.clone();
        let keeping = tokio::spawn(async move {
            let url = wanted.url.clone();
            let store = Arc::clone(&gateway.store);
            let kept = gateway.upstream.keep(store, &url, response, listener).await;
            match kept {
                Ok(found) => {
                    let entry = Entry::new(wanted, &asked, status, &answered, found);
                    if is_lasting(&method, status) {
                        gateway.journal.record(entry.clone());
                    }
                    Ok(entry)
                }
                Err(error) => {
                    let (status, why) = gateway.failed(&error);
                    let _gone = sender.send(Err(io::Error::other(why.clone()))).await;
                    Err((status, why))
                }
            }
        });
        if is_cut || head.method == Method::HEAD {
            drop(receiver);
            let entry = keeping
                .await
                .map_err(|error| (StatusCode::BAD_GATEWAY, error.to_string()))??;
            let answer = self.replay(&entry, &head.method, &head.headers)?;
            return answer.ok_or_else(|| {
                (
                    StatusCode::BAD_GATEWAY,
                    "what was just recorded is gone".to_owned(),
                )
            });
        }
        let mut passed = Response::new(body::received(receiver));
        *passed.status_mut() = status;
        *passed.headers_mut() = headers;
        Ok(passed)
    }
}

/// Headers as they are sent.
fn header_map(headers: &BTreeMap<String, String>) -> HeaderMap {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        })
        .collect()
}

/// What a request asks for, as one URL. The name is the one that it gives itself, else the one connected to.
fn url<B>(request: &http::Request<B>, target: &Target) -> Result<String, String> {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    let place = match request.uri().authority() {
        Some(place) => Some(place.clone()),
        None => match host.filter(|host| !host.is_empty()) {
            Some(host) => {
                let place = Place::try_from(host);
                Some(place.map_err(|error| format!("the host {host:?} is none: {error}"))?)
            }
            None => None,
        },
    };
    let (name, port) = match &place {
        Some(place) => (place.host().to_ascii_lowercase(), place.port_u16()),
        None => (target.name.clone(), None),
    };
    let usual = if target.scheme == "https" { 443 } else { 80 };
    let port = port.unwrap_or(target.port);
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    Ok(if port == usual {
        format!("{}://{name}{path}", target.scheme)
    } else {
        format!("{}://{name}:{port}{path}", target.scheme)
    })
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
