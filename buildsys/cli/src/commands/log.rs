//! `tbuild log NODE`: what a node printed when it last ran.

use tbuild_realise::{failed_log, last, read_record};
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
    let show = |log: &tbuild_digest::BlobDigest| -> Result<u8, CliError> {
        if let Some(mut blob) = store.open_blob(log)? {
            // A reader that went away is no error.
            let _gone = std::io::copy(&mut blob, &mut std::io::stdout().lock());
        }
        Ok(0)
    };
    if let Some(log) = failed_log(&store, &arguments.node)? {
        return show(&log);
    }
    let none = || CliError::failed(format!("{} has never run in this store", arguments.node));
    let known = last(&store, &arguments.node)?.ok_or_else(none)?;
    let record = read_record(&store, &known.key)?.ok_or_else(none)?;
    record.log.as_ref().map_or(Ok(0), show)
}
