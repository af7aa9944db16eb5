//! Downloads into the store.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use tbuild_digest::BlobDigest;
use tbuild_store::{Store, StoreError};
use tokio::sync::mpsc;

use super::error::redact;
use super::{Http, HttpError};

/// One file to have in the store.
#[derive(Debug, Clone)]
pub struct Download {
    /// Its name in progress reports.
    pub name: String,
    /// Where it can be had; the next is tried when one fails or serves other bytes.
    pub urls: Vec<String>,
    /// Its SHA-256, if known. A blob of that digest in the store is not fetched again.
    pub sha256: Option<BlobDigest>,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
}

/// A file that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downloaded {
    /// Its blob.
    pub digest: BlobDigest,
    /// Bytes.
    pub size: u64,
    /// Whether it came over the network just now.
    pub fetched: bool,
}

/// Told how downloads go, from any thread.
pub trait Progress: Send + Sync {
    /// `done` bytes of `name` are here, of `total` if that is known. Called often; starts at 0 again when a
    /// download has to begin anew.
    fn bytes(&self, name: &str, done: u64, total: Option<u64>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn bytes(&self, _: &str, _: u64, _: Option<u64>) {}
}

impl<F: Fn(&str, u64, Option<u64>) + Send + Sync> Progress for F {
    fn bytes(&self, name: &str, done: u64, total: Option<u64>) {
        self(name, done, total);
    }
}

impl Http {
    /// Brings all files into the store, several at a time; the first failure ends it. Results are in the order
    /// of `downloads`.
    pub async fn download_all(
        &self,
        downloads: &[Download],
        store: &Arc<dyn Store>,
        progress: &dyn Progress,
    ) -> Result<Vec<Downloaded>, HttpError> {
        // The slots, not this number, bound what runs; more only wait.
        let tasks = downloads
            .iter()
            .map(|download| self.download(download, store, progress));
        futures::stream::iter(tasks)
            .buffered(64)
            .try_collect()
            .await
    }

    /// Brings one file into the store. Size and SHA-256 are checked before it becomes visible there.
    pub async fn download(
        &self,
        download: &Download,
        store: &Arc<dyn Store>,
        progress: &dyn Progress,
    ) -> Result<Downloaded, HttpError> {
        if let Some(digest) = download.sha256
            && let Some(size) = store.blob_size(&digest)?
        {
            return Ok(Downloaded {
                digest,
                size,
                fetched: false,
            });
        }
        let Ok(_slot) = self.slots.acquire().await else {
            return Err(HttpError::Interrupted {
                url: download.name.clone(),
            });
        };
        let mut last = HttpError::Nowhere(download.name.clone());
        for url in &download.urls {
            match self.fetch(url, download, store, progress).await {
                Ok(done) => return Ok(done),
                Err(error) if error.mirror_specific() => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn fetch(
        &self,
        url: &str,
        download: &Download,
        store: &Arc<dyn Store>,
        progress: &dyn Progress,
    ) -> Result<Downloaded, HttpError> {
        let mut sink = Sink::open(url, store, download.sha256);
        self.retrying(async || {
            self.transfer(url, download, &mut sink, store, progress)
                .await
        })
        .await?;
        let (digest, size) = sink.commit().await?;
        Ok(Downloaded {
            digest,
            size,
            fetched: true,
        })
    }

    /// One attempt; what an earlier one has written stays if the server can go on from there.
    async fn transfer(
        &self,
        url: &str,
        download: &Download,
        sink: &mut Sink,
        store: &Arc<dyn Store>,
        progress: &dyn Progress,
    ) -> Result<(), (HttpError, Option<Duration>)> {
        // Without a digest nothing would tell whether the rest belongs to the same file.
        if sink.written > 0 && download.sha256.is_none() {
            *sink = Sink::open(url, store, None);
        }
        let response = self.request(url, sink.written).await?;
        if sink.written > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            *sink = Sink::open(url, store, download.sha256);
        }
        let announced = response.content_length().map(|rest| rest + sink.written);
        let total = download.size.or(announced);
        let wrong = |actual| {
            (
                HttpError::Size {
                    url: redact(url),
                    expected: download.size.unwrap_or_default(),
                    actual,
                },
                None,
            )
        };
        if let (Some(expected), Some(actual)) = (download.size, announced)
            && expected != actual
        {
            return Err(wrong(actual));
        }
        progress.bytes(&download.name, sink.written, total);
        let mut body = response.bytes_stream();
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| (HttpError::from_reqwest(url, error), None))?;
            sink.write(part).await.map_err(|error| (error, None))?;
            if download
                .size
                .is_some_and(|expected| sink.written > expected)
            {
                return Err(wrong(sink.written));
            }
            progress.bytes(&download.name, sink.written, total);
        }
        match download.size {
            Some(expected) if expected != sink.written => Err(wrong(sink.written)),
            _ => Ok(()),
        }
    }
}

/// A blob being written by a thread of its own, since a store may block.
pub(super) struct Sink {
    url: String,
    written: u64,
    parts: Option<mpsc::Sender<Bytes>>,
    thread: tokio::task::JoinHandle<Result<(BlobDigest, u64), HttpError>>,
}

impl Sink {
    pub(super) fn open(url: &str, store: &Arc<dyn Store>, expected: Option<BlobDigest>) -> Self {
        let (parts, mut received) = mpsc::channel::<Bytes>(32);
        let store = Arc::clone(store);
        let url = redact(url);
        let name = url.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let mut writer = store.blob_writer()?;
            let mut ended = false;
            while let Some(part) = received.blocking_recv() {
                // An empty part says that all of it came; a channel that just closes means giving up.
                if part.is_empty() {
                    ended = true;
                    break;
                }
                writer.write_all(&part).map_err(|source| {
                    StoreError::io(format!("write {name} to the store"), source)
                })?;
            }
            if !ended {
                return Err(HttpError::Interrupted { url: name });
            }
            match writer.commit(expected.as_ref()) {
                Err(StoreError::Mismatch { expected, actual }) => Err(HttpError::Digest {
                    url: name,
                    expected,
                    actual,
                }),
                committed => Ok(committed?),
            }
        });
        Self {
            url,
            written: 0,
            parts: Some(parts),
            thread,
        }
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) async fn write(&mut self, part: Bytes) -> Result<(), HttpError> {
        if part.is_empty() {
            return Ok(());
        }
        let count = part.len() as u64;
        let sent = match &self.parts {
            Some(parts) => parts.send(part).await.is_ok(),
            None => false,
        };
        if !sent {
            return Err(self.failure().await);
        }
        self.written += count;
        Ok(())
    }

    pub(super) async fn commit(mut self) -> Result<(BlobDigest, u64), HttpError> {
        if let Some(parts) = self.parts.take() {
            // A refusal means that the thread failed; its result says why.
            let _ = parts.send(Bytes::new()).await;
        }
        let interrupted = HttpError::Interrupted { url: self.url };
        self.thread.await.unwrap_or(Err(interrupted))
    }

    /// Why the thread stopped taking bytes.
    async fn failure(&mut self) -> HttpError {
        self.parts = None;
        match (&mut self.thread).await {
            Ok(Err(error)) => error,
            _ => HttpError::Interrupted {
                url: self.url.clone(),
            },
        }
    }
}
