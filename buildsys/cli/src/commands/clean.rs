//! `tbuild clean`: removes what was deployed; data only as asked.

use tbuild_config::Release;
use tbuild_exec::Stream;
use tbuild_kinds::forget_release;

use super::ask::ask;
use super::status::{connect, failure};
use super::tool::helm;
use crate::args::Global;
use crate::engine::Engine;
use crate::error::{CliError, chain};
use crate::output::line;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Remove data too: releases whose values say role = "data"
    #[arg(long)]
    data: bool,
}

/// Whether a release is what data lies in.
pub fn holds_data(release: &Release) -> bool {
    release.set.get("role").and_then(serde_json::Value::as_str) == Some("data")
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let cluster = connect(global).await?;
    let mut wanted = Vec::new();
    for (name, release) in &project.config.releases {
        if holds_data(release) && !arguments.data {
            line(format!(
                "keeps release {name}: it holds data (--data removes it)"
            ));
            continue;
        }
        let state = cluster
            .release_state(&release.namespace, name)
            .await
            .map_err(|error| failure(&error))?;
        if state.is_some() {
            line(format!("removes release {name} in {}", release.namespace));
            wanted.push((name.clone(), release.namespace.clone(), release.timeout));
        }
    }
    if wanted.is_empty() {
        line("nothing to remove");
        return Ok(0);
    }
    if !ask("Remove?", arguments.yes, "tbuild clean")? {
        return Ok(1);
    }
    let engine = Engine::new(global, project)?;
    let helm = helm(&engine).await?;
    for (name, namespace, timeout) in wanted {
        let mut sink = |_: Stream, text: &str| line(text);
        helm.uninstall(&name, &namespace, timeout, &mut sink, &engine.cancel)
            .await
            .map_err(|error| CliError::failed(chain(&error)))?;
        let place = (cluster.url(), namespace.as_str(), name.as_str());
        forget_release(engine.world.store.as_ref(), place)?;
    }
    Ok(0)
}
