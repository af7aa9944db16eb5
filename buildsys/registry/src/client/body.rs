//! A source of bytes as the body of a request: read off the async threads, a few pieces ahead, so that memory
//! does not grow with the blob.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// Pieces read ahead.
const AHEAD: usize = 4;

/// Opens what is to be sent, from its first byte; called once an attempt.
pub(super) type Open = Arc<dyn Fn() -> io::Result<Box<dyn Read + Send>> + Send + Sync>;

/// Is told how many bytes of how many have travelled; the first number shrinks where an attempt failed.
pub(super) type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Bytes travelled and to travel, of one image.
pub(super) struct Counter {
    done: AtomicU64,
    total: u64,
    progress: Progress,
}

impl Counter {
    pub(super) fn new(total: u64, progress: Progress) -> Arc<Self> {
        Arc::new(Self {
            done: AtomicU64::new(0),
            total,
            progress,
        })
    }

    pub(super) fn add(&self, bytes: u64) {
        let before = self.done.fetch_add(bytes, Ordering::Relaxed);
        (self.progress)((before + bytes).min(self.total), self.total);
    }

    fn take_back(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A part of a blob, to be sent any number of times.
#[derive(Clone)]
pub(super) struct Part {
    pub open: Open,
    pub start: u64,
    pub length: u64,
    pub counter: Option<Arc<Counter>>,
    /// Bytes that have gone out, in all attempts.
    pub moving: Arc<AtomicU64>,
    /// Why the source could not be read, if so: the network is not to blame then.
    pub failure: Arc<Mutex<Option<io::Error>>>,
}

impl Part {
    /// The bytes as a body.
    pub(super) fn body(&self) -> reqwest::Body {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let part = self.clone();
        // Ends by itself when the receiver is dropped.
        tokio::task::spawn_blocking(move || {
            if let Err(error) = part.read(&sender) {
                let copy = io::Error::new(error.kind(), error.to_string());
                *part.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                let _ = sender.blocking_send(Err(copy));
            }
        });
        let stream = futures::stream::unfold(receiver, |mut receiver| async {
            let piece: io::Result<Bytes> = receiver.recv().await?;
            Some((piece, receiver))
        });
        let sent = Sent {
            bytes: 0,
            length: self.length,
            counter: self.counter.clone(),
            moving: Arc::clone(&self.moving),
        };
        let counted =
            futures::stream::unfold((Box::pin(stream), sent), |(mut stream, mut sent)| async {
                let piece = futures::StreamExt::next(&mut stream).await?;
                if let Ok(piece) = &piece {
                    sent.add(piece.len() as u64);
                }
                Some((piece, (stream, sent)))
            });
        reqwest::Body::wrap_stream(counted)
    }

    fn read(&self, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
        let mut source = (self.open)()?;
        let skipped = io::copy(&mut source.by_ref().take(self.start), &mut io::sink())?;
        let mut left = self.length;
        if skipped < self.start {
            return Err(short(self.start - skipped + left));
        }
        while left > 0 {
            let mut piece = Vec::with_capacity(PIECE);
            let want = left.min(PIECE as u64);
            source.by_ref().take(want).read_to_end(&mut piece)?;
            if (piece.len() as u64) < want {
                return Err(short(left - piece.len() as u64));
            }
            left -= want;
            if sender.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Why the source could not be read, if so.
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }
}

fn short(missing: u64) -> io::Error {
    let message = format!("it ends {missing} bytes early");
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
}

/// What one attempt has sent; taken back if it does not send all.
struct Sent {
    bytes: u64,
    length: u64,
    counter: Option<Arc<Counter>>,
    moving: Arc<AtomicU64>,
}

impl Sent {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.moving.fetch_add(bytes, Ordering::Relaxed);
        if let Some(counter) = &self.counter {
            counter.add(bytes);
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.bytes < self.length
            && let Some(counter) = &self.counter
        {
            counter.take_back(self.bytes);
        }
    }
}
