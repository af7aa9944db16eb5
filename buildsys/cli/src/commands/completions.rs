//! `tbuild completions SHELL`.

use clap::CommandFactory as _;
use clap_complete::Shell;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

/// Writes the script to standard output.
pub fn run(arguments: &Arguments) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut crate::args::Cli::command(),
        "tbuild",
        &mut script,
    );
    crate::output::line(String::from_utf8_lossy(&script).trim_end());
    0
}
