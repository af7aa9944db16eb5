//! Images: the last step of a target, composed; and images written out as archives.

use std::sync::Arc;

use async_trait::async_trait;
use tbuild_digest::BlobDigest;
use tbuild_dockerfile::Platform;
use tbuild_realise::{Context, Op, OpError, Output, Prepared};
use tbuild_store::Store as _;
use tbuild_tree::SOURCE_DATE_EPOCH;

use crate::platforms::set_platform;
use crate::value::input;
use crate::{ImageValue, StateValue, World};

/// The time that images carry in their config, as RFC 3339: [`SOURCE_DATE_EPOCH`].
const CREATED: &str = "1980-01-01T00:00:00Z";
const _: () = assert!(SOURCE_DATE_EPOCH == 315_532_800, "CREATED says the same");

/// An image. Its input: the state of its last step.
pub(crate) struct Image {
    pub world: Arc<World>,
    pub labels: Vec<(String, String)>,
    /// What it was asked to be for.
    pub platform: Option<Platform>,
}

impl Image {
    fn compose(&self, state: &StateValue) -> ImageValue {
        let mut state = state.clone();
        state.scope = None;
        let config = &mut state.config;
        config.created = Some(CREATED.to_owned());
        config.rootfs.diff_ids = state.layers.iter().map(|layer| layer.diff_id).collect();
        for entry in &mut config.history {
            entry.created = Some(CREATED.to_owned());
        }
        if let Some(platform) = &self.platform {
            set_platform(config, platform);
        }
        for (name, value) in &self.labels {
            config.config.labels.insert(name.clone(), value.clone());
        }
        let bytes = config.to_bytes();
        ImageValue {
            id: BlobDigest::of(&bytes),
            config: bytes.into(),
            state,
        }
    }
}

#[async_trait]
impl Op for Image {
    fn title(&self) -> String {
        "compose the image".to_owned()
    }

    async fn prepare(&self, _: &Context, inputs: &[Output]) -> Result<Prepared, OpError> {
        let state = input::<StateValue>(inputs, 0)?;
        let image = self.compose(&state);
        // An image that was built is known by its ID from then on. One lookup when it is there.
        self.world.store.put_blob(&image.config)?;
        Ok(Prepared::Ready(Output::new(image)))
    }
}
