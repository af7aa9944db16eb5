//! What is remembered of a node.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tbuild_digest::{ActionKey, BlobDigest};
use tbuild_graph::KeyManifest;
use tbuild_store::{Store, StoreError};

/// The result of an action, under its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The node that ran it first.
    pub node: String,
    /// What the key was made of.
    pub manifest: KeyManifest,
    /// The op's own result.
    pub result: serde_json::Value,
    /// Which external things it touched that the key does not cover.
    pub impure: Vec<String>,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// When it ended, in seconds since the epoch.
    pub finished: u64,
    /// Its output, as a blob.
    pub log: Option<BlobDigest>,
}

/// What a node was last realised as, and before that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// The key of the last realisation.
    pub key: ActionKey,
    /// The key before it, if it was another.
    pub previous: Option<ActionKey>,
    /// How long it last ran, in milliseconds.
    pub duration_ms: u64,
}

/// The store's space for [`Last`], by node name.
pub const LAST: &str = "last";

/// Reads the record under `key`; a record of another tbuild that cannot be read counts as none.
pub fn read_record(store: &dyn Store, key: &ActionKey) -> Result<Option<Record>, StoreError> {
    Ok(store
        .action(key)?
        .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// What `node` was last realised as.
pub fn last(store: &dyn Store, node: &str) -> Result<Option<Last>, StoreError> {
    Ok(store
        .reference(LAST, node)?
        .and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Remembers that `node` is now realised as `key`. Writes nothing when it was so already.
pub(crate) fn remember(
    store: &dyn Store,
    node: &str,
    key: ActionKey,
    duration_ms: Option<u64>,
) -> Result<(), StoreError> {
    let before = last(store, node)?;
    let (previous, known) = match &before {
        Some(before) if before.key == key && duration_ms.is_none() => return Ok(()),
        Some(before) if before.key == key => (before.previous, before.duration_ms),
        Some(before) => (Some(before.key), before.duration_ms),
        None => (None, 0),
    };
    let now = Last {
        key,
        previous,
        duration_ms: duration_ms.unwrap_or(known),
    };
    let bytes = serde_json::to_vec(&now).unwrap_or_default();
    store.set_reference(LAST, node, Some(&bytes))
}

/// Seconds since the epoch.
pub(crate) fn now() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the scheduler may read the clock; keys never see it"
    )]
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
