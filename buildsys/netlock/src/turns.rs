//! One question at a time: an origin may answer two programs that ask at once in two ways, and only one answer is
//! recorded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::Request;

/// How long a request waits for the answer to another one like it. A program may ask twice and read the second answer
/// first: then the first is not written down before the second comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who is asking origins for what.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<BTreeMap<Request, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else is asking for it; none where that takes too long. What comes back is held until the
    /// answer is written down.
    pub(crate) async fn take(&self, wanted: &Request) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(wanted.clone()).or_default())
        };
        tokio::time::timeout(PATIENCE, turn.lock_owned()).await.ok()
    }
}
