//! `tbuild log NODE`: what a node printed when it last ran.

use std::io::Write as _;

use tbuild_realise::{last, read_record};
use tbuild_store::Store as _;

use crate::args::Global;
use crate::error::CliError;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The node, by its full name: step:nginx/0/2, task:migrate
    node: String,
}

/// Runs it.
pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let store = crate::engine::open_store(global)?;
    let none = || CliError::failed(format!("{} has never run in this store", arguments.node));
    let known = last(&store, &arguments.node)?.ok_or_else(none)?;
    let record = read_record(&store, &known.key)?.ok_or_else(none)?;
    if let Some(log) = &record.log {
        let bytes = store.read_blob(log)?.unwrap_or_default();
        let _gone = std::io::stdout().lock().write_all(&bytes);
    }
    Ok(0)
}
