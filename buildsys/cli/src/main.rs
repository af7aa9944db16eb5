//! The `tbuild` program: one file a command, and the reporters.

#![expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]

mod args;
mod commands;
mod doctor;
mod engine;
mod error;
mod output;
mod project;
mod report;
mod steps;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    match arguments.get(1).and_then(|first| first.to_str()) {
        // Before any thread is started.
        Some(tbuild_sandbox::HELPER_ARG) => tbuild_sandbox::helper_main(),
        Some(tbuild_sandbox::container::INIT_ARG) => tbuild_sandbox::container::init_main(),
        Some(commands::verify::VARY) => commands::verify::main(arguments),
        Some(tbuild_sandbox::userns::AS_USER_ARG) => {
            tbuild_sandbox::userns::as_user_main(&arguments[2..])
        }
        Some(commands::node::REEXEC) => tbuild_node::internal_main(&arguments[2..]),
        _ => commands::run_with(arguments),
    }
}
