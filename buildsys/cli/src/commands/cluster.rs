//! `tbuild cluster`: images, chart, push, releases, migrate, collect-static; whatever `[target.cluster]` needs.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use tbuild_config::{Kind, NodeRef};

use super::task::Said;
use crate::args::Global;
use crate::engine::Engine;
use crate::error::CliError;
use crate::project::Project;

/// The target that this command realises.
const TARGET: &str = "cluster";

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    said: Said,
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    if !project.config.targets.contains_key(TARGET) {
        return Err(CliError::usage("tbuild.toml has no [target.cluster]")
            .hint("it names what a deployment needs, such as release:NAME"));
    }
    let told = arguments.said.resolve(&project.config, None)?;
    let engine = Engine::new(global, project)?;
    if !global.dry_run
        && let Some(registry) = engine.project.config.project.registry.as_ref()
    {
        ensure_registry(global, &registry.value)?;
    }
    engine.world.connect_ahead();
    let wanted = [NodeRef::new(Kind::Target, TARGET)];
    let outcome = super::target::realise_told(&engine, &wanted, told, &[]).await?;
    let summary = outcome.summary;
    if summary.ran == 0 && summary.pending == 0 {
        engine.say("nothing to do: helm was not called, no Job was started, no bytes were pushed");
    }
    Ok(0)
}

/// Starts the embedded registry where the configured one is of this machine and nothing listens there.
fn ensure_registry(global: &Global, registry: &str) -> Result<(), CliError> {
    let Ok(mut addresses) = registry.to_socket_addrs() else {
        return Ok(());
    };
    if !addresses.clone().all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    if addresses.any(|address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
    {
        return Ok(());
    }
    let port = registry
        .rsplit(':')
        .next()
        .and_then(|port| port.parse::<u16>().ok())
        .unwrap_or(5000);
    super::registry::detach(global, &format!("127.0.0.1:{port}"))
}
