//! `tbuild rollback`: what an earlier revision of a release held, again; and what that does not undo.

use tbuild_exec::Stream;
use tbuild_kube::{JobView, RevisionView};

use super::ask::ask;
use super::status::{ago, connect, failure};
use super::tool::helm;
use crate::args::Global;
use crate::engine::Engine;
use crate::error::{CliError, chain};
use crate::output::line;
use crate::project::Project;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The release of tbuild.toml [default: the only one that is no data's]
    release: Option<String>,
    /// The revision [default: the one that was in place before]
    #[arg(long, value_name = "REVISION")]
    to: Option<u32>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// The release that is meant.
fn release<'a>(project: &'a Project, named: Option<&'a str>) -> Result<&'a str, CliError> {
    let all = &project.config.releases;
    let names = || {
        all.keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(name) = named {
        if all.contains_key(name) {
            return Ok(name);
        }
        let what = format!("there is no release {name} in tbuild.toml");
        return Err(CliError::usage(what).hint(format!("releases: {}", names())));
    }
    let mut own = all
        .iter()
        .filter(|(_, release)| !super::clean::holds_data(release));
    match (own.next(), own.next()) {
        (Some((name, _)), None) => Ok(name),
        _ => Err(CliError::usage("which release?").hint(format!("releases: {}", names()))),
    }
}

/// The revision to go back to: the one named, or the newest before the last that was in place.
fn target(revisions: &[RevisionView], to: Option<u32>) -> Option<&RevisionView> {
    let was_in_place =
        |one: &&RevisionView| matches!(one.status.as_str(), "deployed" | "superseded");
    match to {
        Some(to) => revisions.iter().find(|one| one.revision == to),
        None => revisions.iter().filter(was_in_place).rev().nth(1),
    }
}

/// Runs it.
pub async fn run(global: &Global, arguments: &Arguments) -> Result<u8, CliError> {
    let project = Project::load(global)?;
    let name = release(&project, arguments.release.as_deref())?.to_owned();
    let settings = &project.config.releases[&name];
    let (namespace, timeout) = (settings.namespace.clone(), settings.timeout);
    let cluster = connect(global).await?;
    let fail = |error: tbuild_kube::KubeError| failure(&error);
    let revisions = cluster.revisions(&namespace, &name).await.map_err(fail)?;
    let Some(to) = target(&revisions, arguments.to) else {
        let known: Vec<String> = revisions
            .iter()
            .map(|one| format!("{} ({})", one.revision, one.status))
            .collect();
        let what = match arguments.to {
            Some(to) => format!("release {name} has no revision {to}"),
            None => format!("release {name} has no earlier revision"),
        };
        return Err(CliError::failed(what).hint(format!("revisions: {}", known.join(", "))));
    };
    line(format!(
        "release {name}: back to revision {}, made {}",
        to.revision,
        ago(to.created)
    ));
    let jobs = cluster.jobs(&namespace, "").await.map_err(fail)?;
    for job in since(&jobs, to.created) {
        line(format!(
            "  is not undone: task {} ran since, {}",
            job.task.as_deref().unwrap_or_default(),
            ago(job
                .completed
                .or(job.created)
                .and_then(|time| u64::try_from(time).ok()))
        ));
    }
    if !ask("Roll back?", arguments.yes, "tbuild rollback")? {
        return Ok(1);
    }
    let revision = to.revision;
    let engine = Engine::new(global, project)?;
    let helm = helm(&engine).await?;
    let mut sink = |_: Stream, text: &str| line(text);
    helm.rollback(
        &name,
        &namespace,
        Some(revision),
        Some(timeout),
        &mut sink,
        &engine.cancel,
    )
    .await
    .map_err(|error| CliError::failed(chain(&error)))?;
    line(format!(
        "release {name} is what revision {revision} was; `tbuild cluster` brings it forward again"
    ));
    Ok(0)
}

/// The tasks whose last success is younger than a revision.
fn since(jobs: &[JobView], created: Option<u64>) -> Vec<&JobView> {
    let created = created.and_then(|time| i64::try_from(time).ok());
    jobs.iter()
        .filter(|job| job.task.is_some() && job.state == "Complete")
        .filter(|job| created.is_none_or(|created| job.created.is_none_or(|made| made > created)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(revision: u32, status: &str) -> RevisionView {
        RevisionView {
            revision,
            status: status.to_owned(),
            created: Some(u64::from(revision)),
        }
    }

    #[test]
    fn back_is_to_what_was_in_place_before() {
        let all = [
            revision(1, "superseded"),
            revision(2, "failed"),
            revision(3, "superseded"),
            revision(4, "failed"),
            revision(5, "deployed"),
        ];
        assert_eq!(target(&all, None).map(|one| one.revision), Some(3));
        assert_eq!(target(&all, Some(1)).map(|one| one.revision), Some(1));
        assert_eq!(target(&all, Some(9)), None);
        assert_eq!(target(&all[4..], None), None);
    }
}
