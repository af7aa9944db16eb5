//! Blobs out of a registry: checked, and resumed where a connection breaks.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use reqwest::Response;
use tbuild_digest::Hasher;
use tbuild_oci::{Descriptor, Reference};
use tokio::sync::mpsc;

use super::endpoint::Base;
use super::error::RegistryError;
use super::request::{Ask, Scope};
use super::{RegistryClient, Unreachability, body::Counter};

/// Pieces received ahead of who reads them.
const AHEAD: usize = 16;

/// A blob as it comes in. Reads block. A blob that breaks off reads as an error, never as a short blob.
pub struct BlobBody {
    pieces: mpsc::Receiver<Bytes>,
    piece: Bytes,
    hasher: Hasher,
    read: u64,
    descriptor: Descriptor,
}

impl BlobBody {
    /// Reads what is left, and checks size and digest of the whole. Nothing of the blob is to be believed
    /// before.
    pub fn finish(mut self) -> Result<(), RegistryError> {
        let what = format!("blob {}", self.descriptor.digest);
        io::copy(&mut self, &mut io::sink())
            .map_err(|source| RegistryError::local(format!("read {what}"), source))?;
        let actual = self.hasher.finish();
        if self.descriptor.digest.0 != actual {
            return Err(RegistryError::digest(what, &self.descriptor.digest, actual));
        }
        Ok(())
    }
}

impl Read for BlobBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece,
                None if self.read == self.descriptor.size => return Ok(0),
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "it breaks off",
                    ));
                }
            }
            // By the piece: hashing a tar reader's small pieces is slow.
            self.hasher.update(&self.piece);
            self.read += self.piece.len() as u64;
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl RegistryClient {
    /// Writes a blob of the repository to `writer`, and returns the writer once size and digest are right.
    /// What was written before an error is not to be believed.
    pub async fn get_blob<W: Write + Send + 'static>(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        mut writer: W,
    ) -> Result<W, RegistryError> {
        let what = format!("write blob {}", descriptor.digest);
        self.fetch_blob(repository, descriptor, None, move |mut body| {
            io::copy(&mut body, &mut writer)
                .and_then(|_| writer.flush())
                .map_err(|source| RegistryError::local(what, source))?;
            body.finish().map(|()| writer)
        })
        .await
    }

    /// Hands a blob of the repository to `consume`, which runs off the async threads, and returns what that
    /// makes of it. `consume` has to call [`BlobBody::finish`] before it believes what it read. Where the
    /// connection breaks, the blob goes on where it stopped, if the registry can (RFC 9110, Range).
    pub(super) async fn fetch_blob<T: Send + 'static>(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        counter: Option<&Counter>,
        consume: impl FnOnce(BlobBody) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let (sender, pieces) = mpsc::channel(AHEAD);
        let body = BlobBody {
            pieces,
            piece: Bytes::new(),
            hasher: Hasher::new(),
            read: 0,
            descriptor: descriptor.clone(),
        };
        let consumer = tokio::task::spawn_blocking(move || consume(body));
        let fed = self.feed(repository, descriptor, counter, sender).await;
        let consumed = consumer.await;
        // If the network failed, the consumer saw a blob that breaks off: that is not the news.
        fed?;
        consumed.map_err(|error| RegistryError::local("read a blob", error.into()))?
    }

    async fn feed(
        &self,
        repository: &Reference,
        descriptor: &Descriptor,
        counter: Option<&Counter>,
        sender: mpsc::Sender<Bytes>,
    ) -> Result<(), RegistryError> {
        let mut feed = Feed {
            client: self,
            base: self.endpoint(&repository.registry).base(self).await?,
            scope: Scope::pull(repository),
            descriptor,
            what: format!("blob {} of {}", descriptor.digest, repository.repository),
            counter,
            sender,
            offset: 0,
        };
        let mut failures = 0;
        while feed.offset < descriptor.size {
            let before = feed.offset;
            let error = match feed.attempt().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            failures = if feed.offset > before {
                0
            } else {
                failures + 1
            };
            if !error.may_pass() || failures > self.options().retries {
                return Err(error);
            }
            tracing::debug!(%error, offset = feed.offset, "a blob broke off");
            self.pause(failures, None).await;
        }
        Ok(())
    }
}

/// A blob on its way from the registry to who reads it.
struct Feed<'a> {
    client: &'a RegistryClient,
    base: Base,
    scope: Scope,
    descriptor: &'a Descriptor,
    what: String,
    counter: Option<&'a Counter>,
    sender: mpsc::Sender<Bytes>,
    /// Bytes passed on.
    offset: u64,
}

impl Feed<'_> {
    /// Passes on what is left, until it ends or nobody reads any more: who reads then says why.
    async fn attempt(&mut self) -> Result<(), RegistryError> {
        let answer = self.ask().await?;
        // A server that knows no ranges begins again.
        let mut skip = if answer.status() == http::StatusCode::PARTIAL_CONTENT {
            self.check_range(&answer)?;
            0
        } else {
            self.offset
        };
        let size = self.descriptor.size;
        let mut body = answer.bytes_stream();
        while let Some(mut bytes) = self.client.piece(&self.base, &mut body).await? {
            let skipped = usize::try_from(skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
            bytes.advance(skipped);
            skip -= skipped as u64;
            let count = bytes.len() as u64;
            if count > size - self.offset {
                return Err(RegistryError::size(&self.what, size, self.offset + count));
            }
            if count == 0 {
                continue;
            }
            self.offset += count;
            if let Some(counter) = self.counter {
                counter.add(count);
            }
            if self.sender.send(bytes).await.is_err() {
                return Ok(());
            }
        }
        if self.offset < size {
            let missing = size - self.offset;
            return Err(RegistryError::Unreachable {
                registry: self.base.registry.clone(),
                why: Unreachability::Broken,
                source: format!("{} breaks off {missing} bytes before its end", self.what).into(),
            });
        }
        Ok(())
    }

    async fn ask(&self) -> Result<Response, RegistryError> {
        let path = format!("{}/blobs/{}", self.scope.repository, self.descriptor.digest);
        let mut ask = Ask::get(self.base.join(&path)?);
        if self.offset > 0 {
            ask = ask.header("range", &format!("bytes={}-", self.offset));
        }
        let answer = self.client.send(&self.base, &self.scope, &ask).await?;
        self.client
            .expect(&self.base, &self.scope, answer, &self.what)
            .await
    }

    /// Whether a partial answer begins where it was asked to.
    fn check_range(&self, answer: &Response) -> Result<(), RegistryError> {
        let range = answer.headers().get(http::header::CONTENT_RANGE);
        let range = range.and_then(|range| range.to_str().ok());
        let range = range.unwrap_or_default();
        if range.starts_with(&format!("bytes {}-", self.offset)) {
            return Ok(());
        }
        let (what, offset) = (&self.what, self.offset);
        Err(RegistryError::Protocol {
            registry: self.base.registry.clone(),
            why: format!("asked for {what} from byte {offset} on, it sends {range:?}"),
        })
    }
}
