//! Just enough HTTP to ask a registry whether it is there and the API server how the node does.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::NodeError;

/// How long one step of a request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a registry speaks plain HTTP there (OCI distribution spec, "Determining Support").
pub(crate) fn registry_answers(address: SocketAddrV4) -> bool {
    let request = get_request("/v2/", &address.to_string());
    let ask = || {
        let stream = connect(address)?;
        exchange(stream, request.as_bytes())
    };
    ask().is_ok_and(|response| matches!(response.status, 200 | 401))
}

/// The API server, asked as its administrator.
#[derive(Debug, Clone)]
pub(crate) struct ApiServer {
    address: SocketAddrV4,
    tls: Arc<ClientConfig>,
}

impl ApiServer {
    /// The server at `address` with the certificates of a kubeconfig that kubeadm wrote.
    pub(crate) fn new(address: SocketAddrV4, kubeconfig: &str) -> Result<Self, NodeError> {
        let tls = client_config(kubeconfig).map_err(|message| NodeError::Api {
            address: address.to_string(),
            message,
        })?;
        Ok(Self {
            address,
            tls: Arc::new(tls),
        })
    }

    /// Whether it says that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        let host = self.address.to_string();
        self.send(get_request("/readyz", &host).as_bytes())
            .is_ok_and(|response| response.status == 200)
    }

    /// The object or list at `path`.
    pub(crate) fn get(&self, path: &str) -> Result<Value, NodeError> {
        let request = get_request(path, &self.address.to_string());
        self.send(request.as_bytes())
            .and_then(|response| response.json())
            .map_err(|error| self.error(&error))
    }

    /// Merges `change` into the object at `path`; members of lists are matched by name (Kubernetes' strategic
    /// merge patch).
    pub(crate) fn merge(&self, path: &str, change: &Value) -> Result<Value, NodeError> {
        let body = change.to_string();
        let request = format!(
            "PATCH {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/strategic-merge-patch+json\r\n\
             Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.send(request.as_bytes())
            .and_then(|response| response.json())
            .map_err(|error| self.error(&error))
    }

    fn send(&self, request: &[u8]) -> io::Result<Response> {
        let name = ServerName::IpAddress(IpAddr::V4(*self.address.ip()).into());
        let connection =
            ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        exchange(
            StreamOwned::new(connection, connect(self.address)?),
            request,
        )
    }

    fn error(&self, error: &io::Error) -> NodeError {
        NodeError::Api {
            address: self.address.to_string(),
            message: error.to_string(),
        }
    }
}

/// HTTP/1.0: the server neither keeps the connection nor cuts its answer into chunks (RFC 1945).
fn get_request(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n")
}

fn connect(address: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::V4(address), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Response {
    status: u16,
    body: Vec<u8>,
}

impl Response {
    fn json(&self) -> io::Result<Value> {
        if !(200..300).contains(&self.status) {
            let said = String::from_utf8_lossy(&self.body);
            let said = format!("answered {}: {}", self.status, said.trim());
            return Err(io::Error::other(said));
        }
        serde_json::from_slice(&self.body).map_err(io::Error::other)
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Response> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Some servers end TLS without saying so; what counts is the length below.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    parse_response(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a whole HTTP answer"))
}

fn parse_response(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let body = &answer[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse::<usize>().ok());
    if length.is_some_and(|length| length != body.len()) {
        return None;
    }
    Some(Response {
        status,
        body: body.to_vec(),
    })
}

/// The value of `key` where kubeadm's kubeconfig has it on a line of its own, in base64.
fn embedded(kubeconfig: &str, key: &str) -> Result<Vec<u8>, String> {
    let value = kubeconfig
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim())
        .ok_or_else(|| format!("kubeconfig has no {key}"))?;
    base64::engine::general_purpose::STANDARD
        .decode(value)
        .map_err(|error| format!("kubeconfig: {key}: {error}"))
}

fn client_config(kubeconfig: &str) -> Result<ClientConfig, String> {
    let fail = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let authority = embedded(kubeconfig, "certificate-authority-data")?;
    let own = embedded(kubeconfig, "client-certificate-data")?;
    let key = embedded(kubeconfig, "client-key-data")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authority) {
        let certificate = certificate.map_err(|error| fail("authority", &error))?;
        roots
            .add(certificate)
            .map_err(|error| fail("authority", &error))?;
    }
    let own = CertificateDer::pem_slice_iter(&own)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| fail("client certificate", &error))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| fail("client key", &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| fail("TLS", &error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(own, key)
        .map_err(|error| fail("client certificate", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_cut_short_is_no_answer() {
        let whole = b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let expected = Response {
            status: 200,
            body: b"ok".to_vec(),
        };
        assert_eq!(parse_response(whole), Some(expected));
        for cut in 0..whole.len() {
            assert_eq!(parse_response(&whole[..cut]), None, "at {cut}");
        }
    }

    #[test]
    fn a_kubeconfig_without_certificates_is_an_error() {
        let address = SocketAddrV4::new([127, 0, 0, 1].into(), 1);
        let error = ApiServer::new(address, "apiVersion: v1\n").unwrap_err();
        assert!(error.to_string().contains("certificate-authority-data"));
    }
}
