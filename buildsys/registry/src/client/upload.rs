//! One blob into a registry. Source: the specification's "Pushing blobs".

use std::io::{self, Read};
use std::sync::Arc;

use http::{Method, StatusCode};
use reqwest::{Response, Url};
use tbuild_oci::{Descriptor, Reference};

use super::body::{Counter, Open, Part};
use super::endpoint::Base;
use super::request::{Ask, Scope, may_pass};
use super::{RegistryClient, RegistryError};

/// Bytes of a chunk, for registries that refuse a blob in one piece.
const CHUNK: u64 = 16 << 20;

/// A blob to send.
#[derive(Clone)]
pub struct PushBlob {
    /// Its digest and size; the media type is not sent.
    pub descriptor: Descriptor,
    /// Opens it, from its first byte; called again for each attempt, off the async threads.
    pub open: Open,
    /// Another repository of the registry that may have it: it is mounted from there then.
    pub mount_from: Option<String>,
}

impl PushBlob {
    /// A blob that `open` opens.
    pub fn new(
        descriptor: Descriptor,
        open: impl Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            descriptor,
            open: Arc::new(open),
            mount_from: None,
        }
    }

    /// A blob of a store.
    pub fn from_store(descriptor: Descriptor, store: Arc<dyn tbuild_store::Store>) -> Self {
        let digest = descriptor.digest;
        Self::new(descriptor, move || {
            let reader = store.open_blob(&digest).map_err(io::Error::other)?;
            match reader {
                Some(reader) => Ok(Box::new(reader)),
                None => Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "it is not in the store",
                )),
            }
        })
    }
}

impl std::fmt::Debug for PushBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushBlob")
            .field("descriptor", &self.descriptor)
            .field("mount_from", &self.mount_from)
            .finish_non_exhaustive()
    }
}

/// How an attempt ended.
enum Attempt {
    /// The blob is there.
    Done,
    /// The registry takes no blob in one piece.
    WantsChunks,
    /// The connection broke, or the registry is in trouble.
    Failed(RegistryError),
}

/// An upload under way.
struct Upload<'a> {
    client: &'a RegistryClient,
    base: Base,
    scope: Scope,
    blob: &'a PushBlob,
    counter: Option<Arc<Counter>>,
    what: String,
    /// Where it goes on; none before it began.
    location: Option<Url>,
    /// Bytes that the registry has.
    offset: u64,
    chunked: bool,
}

impl RegistryClient {
    /// Sends a blob to the repository, whether it is there or not. False if the registry mounted it from
    /// [`PushBlob::mount_from`] and nothing was sent. A connection that breaks is resumed where the registry
    /// stopped, if it can say so, else begun again.
    pub async fn push_blob(
        &self,
        repository: &Reference,
        blob: &PushBlob,
    ) -> Result<bool, RegistryError> {
        self.upload(repository, blob, None).await
    }

    pub(super) async fn upload(
        &self,
        repository: &Reference,
        blob: &PushBlob,
        counter: Option<Arc<Counter>>,
    ) -> Result<bool, RegistryError> {
        let mut upload = Upload {
            client: self,
            base: self.endpoint(&repository.registry).base(self).await?,
            scope: Scope::push(repository).mount(blob.mount_from.as_deref()),
            blob,
            counter,
            what: format!(
                "an upload of blob {} to {}",
                blob.descriptor.digest, repository.repository
            ),
            location: None,
            offset: 0,
            chunked: false,
        };
        let mut failures = 0;
        loop {
            if upload.location.is_none() && upload.begin().await? {
                return Ok(false);
            }
            let before = upload.offset;
            let error = match upload.attempt().await? {
                Attempt::Done => return Ok(true),
                Attempt::WantsChunks => {
                    upload.chunked = true;
                    upload.location = None;
                    continue;
                }
                Attempt::Failed(error) => error,
            };
            // The answer may be all that was lost.
            let digest = &blob.descriptor.digest;
            if self.has_blob(repository, digest, &upload.scope).await? {
                return Ok(true);
            }
            upload.resume().await;
            failures = if upload.offset > before {
                0
            } else {
                failures + 1
            };
            if failures > self.options().retries {
                return Err(error);
            }
            tracing::debug!(%error, offset = upload.offset, "an upload broke off");
            self.pause(failures, None).await;
        }
    }
}

impl Upload<'_> {
    /// Begins an upload, or has the blob mounted: true then.
    async fn begin(&mut self) -> Result<bool, RegistryError> {
        let path = format!("{}/blobs/uploads/", self.scope.repository);
        let mut url = self.base.join(&path)?;
        if let Some(from) = &self.blob.mount_from {
            url.query_pairs_mut()
                .append_pair("mount", &self.blob.descriptor.digest.to_string())
                .append_pair("from", from);
        }
        let ask = Ask::post(url.clone()).header("content-length", "0");
        let answer = self.client.send(&self.base, &self.scope, &ask).await?;
        let answer = self.expect(answer).await?;
        if answer.status() == StatusCode::CREATED && self.blob.mount_from.is_some() {
            return Ok(true);
        }
        self.go_on(&url, &answer)?;
        self.offset = 0;
        Ok(false)
    }

    /// Takes note of where the upload goes on.
    fn go_on(&mut self, asked: &Url, answer: &Response) -> Result<(), RegistryError> {
        let location = answer.headers().get(http::header::LOCATION);
        let location = location.and_then(|location| asked.join(location.to_str().ok()?).ok());
        let why = || RegistryError::Protocol {
            registry: self.base.registry.clone(),
            why: format!("{} has no location to go on at", self.what),
        };
        self.location = Some(location.ok_or_else(why)?);
        Ok(())
    }

    async fn expect(&self, answer: Response) -> Result<Response, RegistryError> {
        let expected = self
            .client
            .expect(&self.base, &self.scope, answer, &self.what);
        expected.await
    }

    fn part(&self, start: u64, length: u64) -> Part {
        Part {
            open: Arc::clone(&self.blob.open),
            start,
            length,
            counter: self.counter.clone(),
            moving: Arc::default(),
            failure: Arc::default(),
        }
    }

    /// Sends what the registry does not have yet.
    async fn attempt(&mut self) -> Result<Attempt, RegistryError> {
        let size = self.blob.descriptor.size;
        if self.offset == 0 && !self.chunked {
            return self.put(Some(self.part(0, size))).await;
        }
        while self.offset < size {
            let length = (size - self.offset).min(if self.chunked { CHUNK } else { size });
            let range = format!("{}-{}", self.offset, self.offset + length - 1);
            let Some(location) = self.location.clone() else {
                break;
            };
            let ask = Ask::new(Method::PATCH, location.clone()).header("content-range", &range);
            let answer = match self
                .exchange(ask, Some(self.part(self.offset, length)))
                .await?
            {
                Ok(answer) => answer,
                Err(error) => return Ok(Attempt::Failed(error)),
            };
            // Some say 201 or 204 where the specification has 202.
            let answer = self.expect(answer).await?;
            self.go_on(&location, &answer)?;
            self.offset += length;
        }
        self.put(None).await
    }

    /// Ends the upload, with the blob or without.
    async fn put(&mut self, part: Option<Part>) -> Result<Attempt, RegistryError> {
        let Some(mut url) = self.location.clone() else {
            return Ok(Attempt::WantsChunks);
        };
        url.query_pairs_mut()
            .append_pair("digest", &self.blob.descriptor.digest.to_string());
        let whole = part.is_some();
        let answer = match self.exchange(Ask::new(Method::PUT, url), part).await? {
            Ok(answer) => answer,
            Err(error) => return Ok(Attempt::Failed(error)),
        };
        if whole
            && !self.chunked
            && matches!(
                answer.status().as_u16(),
                404 | 405 | 411 | 413 | 415 | 416 | 501
            )
        {
            return Ok(Attempt::WantsChunks);
        }
        self.expect(answer).await.map(|_| Attempt::Done)
    }

    /// One exchange of the upload. Inside are failures that the next attempt may not have.
    async fn exchange(
        &self,
        ask: Ask,
        part: Option<Part>,
    ) -> Result<Result<Response, RegistryError>, RegistryError> {
        let length = part.as_ref().map_or(0, |part| part.length);
        let mut ask = ask
            .header("content-length", &length.to_string())
            .header("content-type", "application/octet-stream");
        if let Some(part) = part.clone().filter(|_| length > 0) {
            ask = ask.part(part);
        }
        let result = self.client.attempt_as(&self.base, &self.scope, &ask).await;
        if let Some(source) = part.and_then(|part| part.take_failure()) {
            let what = format!("read blob {}", self.blob.descriptor.digest);
            return Err(RegistryError::local(what, source));
        }
        match result {
            Ok(answer) if may_pass(answer.status().as_u16()) => match self.expect(answer).await {
                Ok(answer) => Ok(Ok(answer)),
                Err(error) => Ok(Err(error)),
            },
            Err(error) if !error.may_pass() => Err(error),
            result => Ok(result),
        }
    }

    /// Asks how much of the upload has arrived; where the registry does not say, it is begun again.
    async fn resume(&mut self) {
        let Some(location) = self.location.take() else {
            return;
        };
        self.offset = 0;
        let ask = Ask::get(location.clone());
        let Ok(answer) = self.client.attempt_as(&self.base, &self.scope, &ask).await else {
            return;
        };
        let range = answer.headers().get(http::header::RANGE);
        let range = range
            .and_then(|range| range.to_str().ok())
            .unwrap_or_default();
        let last: Option<u64> = range
            .rsplit('-')
            .next()
            .and_then(|last| last.trim().parse().ok());
        // `0-0` is nothing or one byte: not worth the doubt.
        if let Some(last) = last
            && answer.status().is_success()
            && last > 0
            && last < self.blob.descriptor.size
            && self.go_on(&location, &answer).is_ok()
        {
            self.offset = last + 1;
            if let Some(counter) = &self.counter {
                // The attempt that failed took back all that it had sent; this much is there.
                counter.add(self.offset);
            }
        }
    }
}
