//! `tbuild superuser`: `[command.superuser]` for a name and an address, with secrets that no command line shows.

use std::io::IsTerminal as _;

use super::ask;
use crate::args::Global;
use crate::error::CliError;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Its name [default: asked for]
    #[arg(long)]
    username: Option<String>,
    /// Its address [default: asked for]
    #[arg(long)]
    email: Option<String>,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let mut more = Vec::new();
    for (option, given) in [
        ("username", &arguments.username),
        ("email", &arguments.email),
    ] {
        let value = match given {
            Some(value) => value.clone(),
            None if std::io::stdin().is_terminal() => ask::line(&format!("{option}: "))?,
            None => {
                return Err(CliError::usage(format!(
                    "--{option} is missing, and nobody can be asked"
                )));
            }
        };
        more.push(format!("--{option}={value}"));
    }
    super::target::command(global, "superuser", &more).await
}
