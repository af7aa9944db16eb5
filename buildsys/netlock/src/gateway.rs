//! The gateway: takes what a step sends to any name, and answers as the mode says.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tbuild_store::Store;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use crate::authority::{Authority, ByName};
use crate::journal::{Journal, Mode};
use crate::names::Names;
use crate::place::{Places, Target};
use crate::resolver;
use crate::turns::Turns;
use crate::upstream::Upstream;

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
    pub(crate) mode: Mode,
    pub(crate) store: Arc<dyn Store>,
    authority: Arc<Authority>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) places: Places,
    pub(crate) upstream: Upstream,
    pub(crate) turns: Turns,
    /// Answers that are being written down.
    pub(crate) recordings: TaskTracker,
    names: Arc<Names>,
}

impl Gateway {
    /// A gateway. With [`Mode::Replay`] origins are asked for nothing but what is recorded and gone.
    pub fn new(
        mode: Mode,
        store: Arc<dyn Store>,
        authority: Arc<Authority>,
        journal: Arc<Journal>,
        places: Places,
        upstream: Upstream,
    ) -> Self {
        Self {
            mode,
            store,
            authority,
            journal,
            places,
            upstream,
            turns: Turns::default(),
            recordings: TaskTracker::new(),
            names: Arc::default(),
        }
    }

    /// Serves until it is dropped.
    pub async fn serve(self: Arc<Self>, sockets: Sockets) -> io::Result<()> {
        let mut tasks = JoinSet::new();
        sockets.names.set_nonblocking(true)?;
        let names = UdpSocket::from_std(sockets.names)?;
        let table = Arc::clone(&self.names);
        tasks.spawn(async move { resolver::datagrams(&table, &names).await });
        sockets.names_tcp.set_nonblocking(true)?;
        let names = TcpListener::from_std(sockets.names_tcp)?;
        let table = Arc::clone(&self.names);
        tasks.spawn(async move { resolver::connections(&table, &names).await });
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

    /// Waits until what origins have begun to answer is written down.
    pub async fn settle(&self) {
        self.recordings.close();
        self.recordings.wait().await;
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
                    "no TLS with the step's program, which asks for {name}: {error}; one that trusts certificates of \
                     its own alone cannot be recorded, and needs RUN --network=host"
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
}
