//! Targets: names for other nodes.

use async_trait::async_trait;
use tbuild_realise::{Context, Op, OpError, Output, Prepared};

/// A name for what it waits for.
pub(crate) struct Target;

#[async_trait]
impl Op for Target {
    fn title(&self) -> String {
        "done when what it names is".to_owned()
    }

    async fn prepare(&self, _: &Context, _: &[Output]) -> Result<Prepared, OpError> {
        Ok(Prepared::Ready(Output::new(())))
    }
}
