//! The output of a node: all of it goes to the store, its end stays at hand.

use std::collections::VecDeque;

use tbuild_digest::BlobDigest;
use tbuild_store::{BlobWriter, Store, StoreError};

/// How much is kept in memory before a blob is begun, in bytes.
const IN_MEMORY: usize = 256 << 10;
/// How much of the end is at hand for a failure's message, in bytes.
const TAIL: usize = 256 << 10;

/// The store's space for the output of nodes that failed last, by name.
const FAILED: &str = "failed-log";

/// A node's output.
#[derive(Default)]
pub(crate) struct Log {
    head: Vec<u8>,
    /// The blob that the whole goes to, once it is long.
    blob: Option<Box<dyn BlobWriter>>,
    tail: VecDeque<u8>,
    /// Why not all of it could be kept.
    lost: Option<StoreError>,
}

impl Log {
    /// Takes a piece of output. What cannot be kept is told of by [`Log::finish`].
    pub(crate) fn push(&mut self, store: &dyn Store, bytes: &[u8]) {
        self.tail.extend(bytes);
        let extra = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..extra);
        if self.lost.is_some() {
            return;
        }
        if self.blob.is_none() && self.head.len() + bytes.len() <= IN_MEMORY {
            self.head.extend_from_slice(bytes);
            return;
        }
        if let Err(error) = self.spill(store, bytes) {
            self.lost = Some(error);
            self.blob = None;
        }
    }

    fn spill(&mut self, store: &dyn Store, bytes: &[u8]) -> Result<(), StoreError> {
        let blob = match &mut self.blob {
            Some(blob) => blob,
            none => none.insert(store.blob_writer()?),
        };
        let head = std::mem::take(&mut self.head);
        blob.write_all(&head)
            .and_then(|()| blob.write_all(bytes))
            .map_err(|source| StoreError::io("keep the output of a step", source))
    }

    /// Keeps the whole in the store; none where there was no output.
    pub(crate) fn finish(&mut self, store: &dyn Store) -> Result<Option<BlobDigest>, StoreError> {
        if let Some(error) = self.lost.take() {
            return Err(error);
        }
        match self.blob.take() {
            Some(blob) => blob.commit(None).map(|(digest, _)| Some(digest)),
            None if self.head.is_empty() => Ok(None),
            None => store.put_blob(&self.head).map(Some),
        }
    }

    /// The end of it.
    pub(crate) fn tail(&self) -> Vec<u8> {
        self.tail.iter().copied().collect()
    }
}

/// Remembers what `node` printed before it failed; none once it has not.
pub(crate) fn remember_failure(
    store: &dyn Store,
    node: &str,
    log: Option<BlobDigest>,
) -> Result<(), StoreError> {
    match log {
        Some(log) => store.set_reference(FAILED, node, Some(log.hex().as_bytes())),
        None if store.has_reference(FAILED, node)? => store.set_reference(FAILED, node, None),
        None => Ok(()),
    }
}

/// What `node` printed when it last ran, if it failed then.
pub fn failed_log(store: &dyn Store, node: &str) -> Result<Option<BlobDigest>, StoreError> {
    let kept = store.reference(FAILED, node)?;
    let text = kept.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(text.and_then(|hex| tbuild_digest::Sha256::from_hex(&hex).ok().map(BlobDigest)))
}
