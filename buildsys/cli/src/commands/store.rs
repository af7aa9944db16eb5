//! `tbuild store`: how large it is.

use clap::Subcommand;

use crate::args::Global;
use crate::error::CliError;
use crate::report::bytes;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// How many bytes each part has
    Du,
}

/// Runs it.
pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let store = crate::engine::open_store(global)?;
    match arguments.action {
        Action::Du => {
            let usage = store.du()?;
            crate::output::line(format!(
                "{} in {}",
                bytes(usage.total()),
                store.path().display()
            ));
            crate::output::line(format!("{usage:?}"));
        }
    }
    Ok(0)
}
