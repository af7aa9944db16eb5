//! `tbuild doctor`: whether this machine has what it takes, and what to do where it has not.

use tbuild_registry::RegistryClient;

use crate::args::Global;
use crate::doctor::{Finding, Level, cgroups, machine, programs, sandbox, store};
use crate::engine;
use crate::error::{CliError, chain};
use crate::output::line;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// See whether a registry answers; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Vec<String>,
    /// Why no user namespace could be entered.
    #[arg(skip)]
    pub refused: Option<String>,
}

/// Runs it: 0, or 3 where something is missing that all need.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let refused = arguments.refused.as_deref();
    let world = engine::machine(global)?;
    let mut findings = vec![
        machine::kernel(),
        machine::identity(global.rootless, refused),
        machine::certificates(world.ca_bundle.as_deref()),
        machine::resolver(),
    ];
    let (opened, found) = store::check(&engine::store_path(global));
    findings.extend(found);
    if let Some(opened) = opened.filter(|_| refused.is_none()) {
        match engine::executor(global) {
            Ok(executor) => {
                let steps = move || sandbox::steps(&opened, executor.as_ref());
                let ran = tokio::task::spawn_blocking(steps).await;
                findings.extend(ran.map_err(|error| CliError::internal(&error))?);
            }
            Err(error) => {
                let remedy = error.hints.join("; ");
                findings.push(Finding::missing("steps", error.message, remedy));
            }
        }
    }
    findings.push(cgroups::limits());
    findings.extend(programs::all());
    let client = RegistryClient::new(world.registry);
    for registry in &arguments.registry {
        let check = format!("registry {registry}");
        findings.push(match client.ping(registry).await {
            Ok(()) => Finding::ok(&check, "it answers"),
            Err(error) => {
                let remedy = error.hints().join("; ");
                Finding::missing(&check, chain(&error), remedy)
            }
        });
    }
    for finding in &findings {
        show(global, finding);
    }
    let missing = findings
        .iter()
        .any(|finding| finding.level == Level::Missing);
    Ok(if missing { 3 } else { 0 })
}

fn show(global: &Global, finding: &Finding) {
    if global.json {
        if let Ok(text) = serde_json::to_string(finding) {
            line(text);
        }
        return;
    }
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warn => "warn",
        Level::Missing => "missing",
    };
    let remedy = match &finding.remedy {
        Some(remedy) if !remedy.is_empty() => format!(" -> {remedy}"),
        _ => String::new(),
    };
    line(format!(
        "{level:7} {}: {}{remedy}",
        finding.check, finding.text
    ));
}
