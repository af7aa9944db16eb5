//! `tbuild migrate` and `tbuild collect-static`: the tasks of these names, run now.

use tbuild_config::JsonMap;

use super::task::{Said, again};
use crate::args::Global;
use crate::error::CliError;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    said: Said,
}

/// Runs `[task.migrate]`.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    again(global, "migrate", &arguments.said, JsonMap::new()).await
}

/// Runs `[task.collect-static]`.
pub async fn collect_static(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    again(global, "collect-static", &arguments.said, JsonMap::new()).await
}
