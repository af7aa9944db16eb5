//! The commands, one file each.

pub mod artifact;
pub mod ask;
pub mod backup;
pub mod build;
pub mod bundle;
pub mod chart;
pub mod clean;
pub mod cluster;
pub mod completions;
pub mod dev_push;
pub mod diff;
pub mod doctor;
pub mod exec;
pub mod gc;
pub mod graph;
pub mod image;
pub mod inside;
pub mod lock;
pub mod log;
pub mod logs;
pub mod migrate;
pub mod node;
pub mod outdated;
pub mod plan;
pub mod registry;
pub mod reset;
pub mod rollback;
pub mod shell;
pub mod status;
pub mod store;
pub mod superuser;
pub mod target;
pub mod task;
pub mod tool;
pub mod verify;
pub mod why;

use std::process::ExitCode;

use clap::Parser as _;
use tbuild_sandbox::userns;

use crate::args::{Cli, Command};
use crate::error::CliError;

/// Reads the command line, runs the command, and says how it went.
pub fn run_with(arguments: Vec<std::ffi::OsString>) -> ExitCode {
    let mut cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _gone = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    // While there is one thread.
    if let Err(error) = isolate(&mut cli) {
        error.show();
        return ExitCode::from(error.code);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            CliError::internal(&error).show();
            return ExitCode::from(70);
        }
    };
    let result = runtime.block_on(dispatch(cli));
    // What still blocks (a wait for another process's lock) must not keep a finished program.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !error.message.is_empty() {
                error.show();
            }
            ExitCode::from(error.code)
        }
    }
}

/// Enters a user namespace where the command needs one and this is not root.
fn isolate(cli: &mut Cli) -> Result<(), CliError> {
    if !unpacks(cli.command.as_ref()) {
        return Ok(());
    }
    match (userns::enter(), &mut cli.command) {
        (Ok(entered), _) => {
            let inherited = std::env::var_os(crate::engine::ROOTLESS).is_some();
            cli.global.rootless = entered || (inherited && userns::is_inside());
            cli.global.in_memory = crate::engine::unpack_in_memory(&cli.global)?;
            Ok(())
        }
        // This is what it is there to say.
        (Err(error), Some(Command::Doctor(arguments))) => {
            arguments.refused = Some(crate::error::chain(&error));
            Ok(())
        }
        (Err(error), _) => Err(CliError::unreachable(crate::error::chain(&error))
            .hint("tbuild doctor says what is missing; as root nothing of it is needed")),
    }
}

/// Whether a command may unpack, run or remove layers, and so has to be root, if only in a user namespace.
fn unpacks(command: Option<&Command>) -> bool {
    if let Some(Command::Status(arguments)) = command {
        return arguments.drift;
    }
    !matches!(
        command,
        Some(
            Command::Completions(_)
                | Command::Exec(_)
                | Command::Log(_)
                | Command::Logs(_)
                | Command::Node(_)
                | Command::Registry(_)
                | Command::Reset(_)
                | Command::Shell(_)
                | Command::Superuser(_)
        )
    )
}

async fn dispatch(cli: Cli) -> Result<u8, CliError> {
    let global = &cli.global;
    match &cli.command {
        None => target::run(global, &cli.targets, &cli.rest).await,
        Some(Command::Cluster(arguments)) => cluster::run(global, arguments).await,
        Some(Command::Build(arguments)) => build::run(global, arguments).await,
        Some(Command::Bundle(arguments)) => bundle::run(global, arguments).await,
        Some(Command::Image(arguments)) => image::run(global, arguments).await,
        Some(Command::Artifact(arguments)) => artifact::run(global, arguments).await,
        Some(Command::Chart(arguments)) => chart::run(global, arguments).await,
        Some(Command::Plan(arguments)) => plan::run(global, arguments).await,
        Some(Command::Why(arguments)) => why::run(global, arguments).await,
        Some(Command::Diff(arguments)) => diff::run(global, arguments).await,
        Some(Command::Graph(arguments)) => graph::run(global, arguments),
        Some(Command::Log(arguments)) => log::run(global, arguments),
        Some(Command::Lock(arguments)) => lock::run(global, arguments).await,
        Some(Command::Outdated(arguments)) => outdated::run(global, arguments).await,
        Some(Command::Registry(arguments)) => registry::run(global, arguments).await,
        Some(Command::Verify(arguments)) => verify::run(global, arguments).await,
        Some(Command::Gc(arguments)) => gc::run(global, arguments).await,
        Some(Command::Store(arguments)) => store::run(global, arguments),
        Some(Command::Tool(arguments)) => tool::run(global, arguments).await,
        Some(Command::Status(arguments)) => Box::pin(status::run(global, arguments)).await,
        Some(Command::Logs(arguments)) => logs::run(global, arguments).await,
        Some(Command::Exec(arguments)) => exec::run(global, arguments).await,
        Some(Command::DevPush(arguments)) => dev_push::run(global, arguments).await,
        Some(Command::Reset(arguments)) => reset::run(global, arguments).await,
        Some(Command::Rollback(arguments)) => rollback::run(global, arguments).await,
        Some(Command::Run(arguments)) => task::run(global, arguments).await,
        Some(Command::Migrate(arguments)) => migrate::run(global, arguments).await,
        Some(Command::CollectStatic(arguments)) => migrate::collect_static(global, arguments).await,
        Some(Command::Backup(arguments)) => backup::backup(global, arguments).await,
        Some(Command::Restore(arguments)) => backup::restore(global, arguments).await,
        Some(Command::Superuser(arguments)) => superuser::run(global, arguments).await,
        Some(Command::Shell(arguments)) => shell::run(global, arguments).await,
        Some(Command::Clean(arguments)) => clean::run(global, arguments).await,
        Some(Command::Node(arguments)) => node::run(global, arguments).await,
        Some(Command::Doctor(arguments)) => doctor::run(global, arguments).await,
        Some(Command::Completions(arguments)) => Ok(completions::run(arguments)),
    }
}
