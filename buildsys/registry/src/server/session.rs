//! Uploads under way. A session is a blob being written: it lives in this process alone, and what is dropped,
//! by a client, by time or by the process's end, leaves nothing behind.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use futures::StreamExt as _;
use http::StatusCode;
use tbuild_digest::BlobDigest;
use tbuild_store::{BlobWriter, Store, StoreError};

use super::error::{ApiError, blocking};

/// Bytes gathered before they are written.
const PIECE: usize = 1 << 20;

/// Uploads under way, by id.
#[derive(Debug)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Arc<Session>>>,
    most: usize,
    idle: Duration,
}

/// One upload.
pub(super) struct Session {
    name: String,
    state: Mutex<State>,
    /// One request at a time appends.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    /// None once the blob is committed, or a write failed.
    writer: Option<Box<dyn BlobWriter>>,
    offset: u64,
    touched: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self {
            open: Mutex::default(),
            most,
            idle,
        }
    }

    /// How long a body may stall.
    pub(super) fn idle(&self) -> Duration {
        self.idle
    }

    /// Begins an upload to repository `name`. May block.
    pub(super) fn begin(
        &self,
        store: &dyn Store,
        name: &str,
    ) -> Result<(String, Arc<Session>), ApiError> {
        let no_random = || std::io::Error::other("no random numbers");
        let id = crate::random::token().ok_or_else(|| ApiError::internal(&no_random()))?;
        let session = Arc::new(Session {
            name: name.to_owned(),
            state: Mutex::new(State {
                writer: Some(store.blob_writer()?),
                offset: 0,
                touched: Instant::now(),
            }),
            turn: tokio::sync::Mutex::default(),
        });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| !session.is_abandoned(self.idle));
        if open.len() >= self.most {
            let message = format!("{} uploads are under way", open.len());
            let status = StatusCode::TOO_MANY_REQUESTS;
            return Err(ApiError::new(status, "TOOMANYREQUESTS", message));
        }
        open.insert(id.clone(), Arc::clone(&session));
        Ok((id, session))
    }

    /// The upload `id` to repository `name`.
    pub(super) fn get(&self, name: &str, id: &str) -> Result<Arc<Session>, ApiError> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id)
            .filter(|session| session.name == name)
            .cloned()
            .ok_or_else(|| ApiError::upload_unknown(id))
    }

    /// Forgets an upload.
    pub(super) fn remove(&self, id: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(id);
    }
}

impl Session {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_abandoned(&self, idle: Duration) -> bool {
        self.turn.try_lock().is_ok() && self.state().touched.elapsed() > idle
    }

    /// Bytes taken so far.
    pub(super) fn offset(&self) -> u64 {
        self.state().offset
    }

    /// Waits until no other request appends.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Appends a body. What came before a connection broke stays: the client asks how much and goes on.
    pub(super) async fn append(
        self: &Arc<Self>,
        body: Body,
        idle: Duration,
    ) -> Result<(), ApiError> {
        let mut stream = body.into_data_stream();
        let mut piece = Vec::new();
        loop {
            let next = tokio::time::timeout(idle, stream.next()).await;
            let ended = match next {
                Ok(Some(Ok(bytes))) => {
                    piece.extend_from_slice(&bytes);
                    false
                }
                Ok(None) => true,
                Ok(Some(Err(error))) => {
                    self.write(piece).await?;
                    tracing::debug!(%error, "an upload broke off");
                    return Err(ApiError::upload_invalid("the body broke off"));
                }
                Err(_) => {
                    self.write(piece).await?;
                    let status = StatusCode::REQUEST_TIMEOUT;
                    let message = "the body stalled";
                    return Err(ApiError::new(status, "BLOB_UPLOAD_INVALID", message));
                }
            };
            if ended || piece.len() >= PIECE {
                self.write(std::mem::take(&mut piece)).await?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    async fn write(self: &Arc<Self>, piece: Vec<u8>) -> Result<(), ApiError> {
        if piece.is_empty() {
            return Ok(());
        }
        let session = Arc::clone(self);
        // A request that is dropped in between does not stop the write: offset and bytes stay together.
        blocking(move || {
            let mut state = session.state();
            let Some(writer) = state.writer.as_mut() else {
                return Err(ApiError::upload_invalid("the upload has ended"));
            };
            if let Err(error) = writer.write_all(&piece) {
                state.writer = None;
                return Err(StoreError::io("write an upload", error).into());
            }
            state.offset += piece.len() as u64;
            state.touched = Instant::now();
            Ok(())
        })
        .await
    }

    /// Makes the blob visible under `digest`.
    pub(super) async fn commit(self: &Arc<Self>, digest: BlobDigest) -> Result<(), ApiError> {
        let session = Arc::clone(self);
        blocking(move || {
            let writer = session.state().writer.take();
            let Some(writer) = writer else {
                return Err(ApiError::upload_invalid("the upload has ended"));
            };
            match writer.commit(Some(&digest)) {
                Ok(_) => Ok(()),
                Err(StoreError::Mismatch { expected, actual }) => {
                    let message = format!("the bytes are those of {actual}, not of {expected}");
                    Err(ApiError::digest_invalid(message))
                }
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}
