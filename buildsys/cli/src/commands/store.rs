//! `tbuild store`: how large it is.

use std::collections::BTreeMap;

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
    /// How many bytes each part takes on the disk
    Du,
}

/// Runs it.
pub fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let store = crate::engine::open_store(global)?;
    match arguments.action {
        Action::Du => {
            let usage = store.du()?;
            let parts = [
                ("blobs", usage.blobs),
                ("snapshots", usage.snapshots),
                ("action results", usage.actions),
                ("references", usage.references),
                ("stat cache", usage.statcache),
                ("scratch", usage.scratch),
                ("being written", usage.tmp),
                ("quarantine", usage.quarantine),
                ("all", usage.total()),
            ];
            if global.json {
                let parts: BTreeMap<&str, u64> = parts.into();
                crate::output::json(&parts);
            } else {
                for (part, size) in parts {
                    crate::output::line(format!("{:>10}  {part}", bytes(size)));
                }
            }
        }
    }
    Ok(0)
}
