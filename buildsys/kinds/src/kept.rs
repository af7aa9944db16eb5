//! Answers that were worked out once from layers, kept in the store by all that decides them: an unchanged
//! build asks the same questions, and reads no layer to answer them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tbuild_digest::{ContentHash as _, Encoder};
use tbuild_realise::OpError;
use tbuild_store::Store as _;

use crate::{LayerRef, World};

/// What an answer is about.
pub(crate) struct Question {
    space: &'static str,
    encoder: Encoder,
}

impl Question {
    /// A question about stacked layers. `space` is the store's space for its answers.
    pub(crate) fn of_layers(space: &'static str, layers: &[LayerRef]) -> Self {
        let mut encoder = Encoder::new();
        encoder.number(layers.len() as u64);
        for layer in layers {
            layer.diff_id.hash_content(&mut encoder);
        }
        Self { space, encoder }
    }

    /// The same with a detail.
    pub(crate) fn about(mut self, detail: &[u8]) -> Self {
        self.encoder.bytes(detail);
        self
    }

    /// The kept answer, or the one that `work` finds, which is kept then. An error is not.
    pub(crate) fn answer<T: Serialize + DeserializeOwned>(
        self,
        world: &World,
        work: impl FnOnce() -> Result<T, OpError>,
    ) -> Result<T, OpError> {
        let name = self.encoder.finish().hex();
        let kept = world.store.reference(self.space, &name)?;
        if let Some(answer) = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
            return Ok(answer);
        }
        let answer = work()?;
        let bytes = serde_json::to_vec(&answer).map_err(|error| OpError::internal(&error))?;
        world.store.set_reference(self.space, &name, Some(&bytes))?;
        Ok(answer)
    }
}
