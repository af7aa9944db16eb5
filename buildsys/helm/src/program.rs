//! The helm program: what is asked of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tbuild_exec::Cancel;
use tokio::sync::OnceCell;

use crate::process::Run;
use crate::{HelmError, LineSink, parse_yaml_documents};

/// The helm program and the cluster it works on.
#[derive(Debug, Default)]
pub struct Helm {
    /// The program's path.
    pub program: PathBuf,
    /// A program and arguments to start it through, such as one that lets helm die with its parent (the kernel's
    /// PR_SET_PDEATHSIG); empty to start it directly. That signal follows the thread that starts a program, so the
    /// caller's runtime has to keep its threads.
    pub launcher: Vec<String>,
    /// helm's whole environment: at least HOME or the HELM_*_HOME folders, and PATH where the kubeconfig names
    /// a credential plugin.
    pub env: BTreeMap<String, String>,
    /// The kubeconfig file; none: what helm finds by `env`.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; none: its current one.
    pub kube_context: Option<String>,
    /// Asked once.
    pub version: OnceCell<Version>,
}

/// A version of helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 or 4.
    pub major: u32,
    /// What follows the first dot.
    pub minor: u32,
}

/// What `upgrade --install` is to do.
#[derive(Debug, Clone)]
pub struct Upgrade<'a> {
    /// The release.
    pub release: &'a str,
    /// The packaged chart, or a chart's folder.
    pub chart: &'a Path,
    /// The namespace; made if it is not there.
    pub namespace: &'a str,
    /// The user's values, all of them: nothing of an earlier revision is kept.
    pub values: &'a Value,
    /// Labels of the revision's record; values of at most 63 characters.
    pub labels: &'a BTreeMap<String, String>,
    /// How long to wait for the release to be ready.
    pub timeout: Duration,
    /// Whether to wait until workloads are ready and Jobs are done. A failure then is left as it is, evidence and all:
    /// rolling back is the caller's.
    pub wait: bool,
    /// Whether fields that someone else has changed are taken back (helm 4's server-side apply refuses otherwise).
    pub force_conflicts: bool,
}

/// The state of the revision that counts.
pub(crate) const DEPLOYED: &str = "deployed";

/// The last revision of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its number, from 1.
    pub revision: u32,
    /// `deployed`, `failed`, `pending-install`, `pending-upgrade`, `pending-rollback`, `uninstalling`, `superseded`.
    pub status: String,
    /// What helm says of it.
    pub description: String,
}

/// One revision of a release's history.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Revision {
    /// Its number, from 1.
    pub revision: u32,
    /// As [`Status::status`].
    pub status: String,
    /// `NAME-VERSION`.
    pub chart: String,
    /// What helm says of it.
    #[serde(default)]
    pub description: String,
}

impl Helm {
    /// The program's version; it is asked once.
    pub async fn version(&self) -> Result<Version, HelmError> {
        self.version
            .get_or_try_init(|| self.ask_version())
            .await
            .copied()
    }

    async fn ask_version(&self) -> Result<Version, HelmError> {
        let args = ["version", "--template", "{{.Version}}"]
            .map(str::to_owned)
            .to_vec();
        let text = self.ask("helm version", args, None).await?;
        let text = text.trim();
        let mut numbers = text
            .trim_start_matches('v')
            .split(['.', '-', '+'])
            .map(str::parse);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return Err(HelmError::Output {
                what: "helm version".to_owned(),
                problem: format!("{text:?}"),
            });
        };
        let version = Version { major, minor };
        if version
            < (Version {
                major: 3,
                minor: 14,
            })
        {
            return Err(HelmError::Version(text.to_owned()));
        }
        Ok(version)
    }

    /// Installs or upgrades a release. Every line that helm writes goes to `output` as it comes. When `cancel` is set,
    /// helm is told to stop, and has ten seconds to mark the release as failed.
    pub async fn upgrade_install(
        &self,
        upgrade: &Upgrade<'_>,
        output: &mut LineSink<'_>,
        cancel: &Cancel,
    ) -> Result<(), HelmError> {
        let version = self.version().await?;
        let mut args = [
            "upgrade",
            "--install",
            "--create-namespace",
            "--reset-values",
            "--values=-",
        ]
        .map(str::to_owned)
        .to_vec();
        args.push(format!("--namespace={}", upgrade.namespace));
        args.push(format!("--timeout={}s", upgrade.timeout.as_secs().max(1)));
        if upgrade.wait {
            args.extend(["--wait".to_owned(), "--wait-for-jobs".to_owned()]);
        }
        if upgrade.force_conflicts && version.major >= 4 {
            args.push("--force-conflicts".to_owned());
        }
        if !upgrade.labels.is_empty() {
            args.push(format!("--labels={}", labels(upgrade.labels)?));
        }
        args.extend([
            "--".to_owned(),
            upgrade.release.to_owned(),
            upgrade.chart.display().to_string(),
        ]);
        let what = format!("helm upgrade {}", upgrade.release);
        let input = Some(upgrade.values.to_string());
        self.run(Run {
            what,
            args,
            input,
            output: Some(output),
            cancel: Some(cancel),
        })
        .await
        .map(drop)
    }

    /// Renders a chart as `helm template` does, without a cluster: the documents of `show_only` (paths in the
    /// chart, such as `templates/tasks/migrate.yaml`), or all of them. A file of `show_only` that renders to
    /// nothing is helm's error.
    pub async fn template(
        &self,
        release: &str,
        chart: &Path,
        namespace: &str,
        values: &Value,
        show_only: &[&str],
    ) -> Result<Vec<Value>, HelmError> {
        let mut args = vec![
            "template".to_owned(),
            format!("--namespace={namespace}"),
            "--values=-".to_owned(),
        ];
        args.extend(show_only.iter().map(|path| format!("--show-only={path}")));
        args.extend([
            "--".to_owned(),
            release.to_owned(),
            chart.display().to_string(),
        ]);
        let what = format!("helm template {release}");
        let text = self.ask(&what, args, Some(values.to_string())).await?;
        parse_yaml_documents(&text).map_err(|error| HelmError::Output {
            what,
            problem: error.to_string(),
        })
    }

    /// Checks a chart with values as `helm lint --strict` does; what helm found is in the error.
    pub async fn lint(&self, chart: &Path, values: &Value) -> Result<(), HelmError> {
        let args = vec![
            "lint".into(),
            "--strict".into(),
            "--values=-".into(),
            "--".into(),
            chart.display().to_string(),
        ];
        match self.ask("helm lint", args, Some(values.to_string())).await {
            Err(HelmError::Failed { what, lines, .. }) => {
                let found = lines.iter().filter_map(|line| {
                    line.strip_prefix("[ERROR] ")
                        .or(line.strip_prefix("[WARNING] "))
                });
                let message = found.collect::<Vec<_>>().join("; ");
                Err(HelmError::Failed {
                    what,
                    message,
                    lines,
                })
            }
            other => other.map(drop),
        }
    }

    /// The last revision of a release; none where there is no such release.
    pub async fn status(
        &self,
        release: &str,
        namespace: &str,
    ) -> Result<Option<Status>, HelmError> {
        let last = self.history(release, namespace).await?.pop();
        Ok(last.map(|last| Status {
            revision: last.revision,
            status: last.status,
            description: last.description,
        }))
    }

    /// The revisions of a release that helm keeps, oldest first; none where there is no such release.
    pub async fn history(
        &self,
        release: &str,
        namespace: &str,
    ) -> Result<Vec<Revision>, HelmError> {
        let what = format!("helm history {release}");
        let namespace = format!("--namespace={namespace}");
        let args = ["history", "--output=json", &namespace, "--", release]
            .map(str::to_owned)
            .to_vec();
        match self.ask(&what, args, None).await {
            Ok(text) => {
                let mut revisions: Vec<Revision> =
                    serde_json::from_str(&text).map_err(|error| HelmError::Output {
                        what,
                        problem: error.to_string(),
                    })?;
                revisions.sort_by_key(|revision| revision.revision);
                Ok(revisions)
            }
            Err(HelmError::Failed { message, .. }) if message.contains("release: not found") => {
                Ok(Vec::new())
            }
            Err(error) => Err(error),
        }
    }

    /// The objects that the last revision of a release was made of.
    pub async fn manifest(&self, release: &str, namespace: &str) -> Result<Vec<Value>, HelmError> {
        let what = format!("helm get manifest {release}");
        let namespace = format!("--namespace={namespace}");
        let args = ["get", "manifest", &namespace, "--", release]
            .map(str::to_owned)
            .to_vec();
        let text = self.ask(&what, args, None).await?;
        parse_yaml_documents(&text).map_err(|error| HelmError::Output {
            what,
            problem: error.to_string(),
        })
    }

    /// Makes `revision` (the last deployed one if none) the release's state again, as a new revision.
    pub async fn rollback(
        &self,
        release: &str,
        namespace: &str,
        revision: Option<u32>,
        wait: Option<Duration>,
        output: &mut LineSink<'_>,
        cancel: &Cancel,
    ) -> Result<(), HelmError> {
        let mut args = vec!["rollback".to_owned(), format!("--namespace={namespace}")];
        if let Some(timeout) = wait {
            args.extend([
                "--wait".to_owned(),
                format!("--timeout={}s", timeout.as_secs().max(1)),
            ]);
        }
        args.extend(["--".to_owned(), release.to_owned()]);
        let revision = match revision {
            Some(revision) => revision,
            None => self.last_deployed(release, namespace).await?.unwrap_or(0),
        };
        args.push(revision.to_string());
        let what = format!("helm rollback {release}");
        self.run(Run {
            what,
            args,
            input: None,
            output: Some(output),
            cancel: Some(cancel),
        })
        .await
        .map(drop)
    }

    async fn last_deployed(
        &self,
        release: &str,
        namespace: &str,
    ) -> Result<Option<u32>, HelmError> {
        let history = self.history(release, namespace).await?;
        Ok(history
            .iter()
            .rev()
            .find(|one| one.status == DEPLOYED)
            .map(|one| one.revision))
    }

    /// Removes a release and waits until what it held is gone. No release is no error.
    pub async fn uninstall(
        &self,
        release: &str,
        namespace: &str,
        timeout: Duration,
        output: &mut LineSink<'_>,
        cancel: &Cancel,
    ) -> Result<(), HelmError> {
        let args = vec![
            "uninstall".to_owned(),
            "--ignore-not-found".to_owned(),
            "--wait".to_owned(),
            format!("--namespace={namespace}"),
            format!("--timeout={}s", timeout.as_secs().max(1)),
            "--".to_owned(),
            release.to_owned(),
        ];
        let what = format!("helm uninstall {release}");
        self.run(Run {
            what,
            args,
            input: None,
            output: Some(output),
            cancel: Some(cancel),
        })
        .await
        .map(drop)
    }

    /// Runs helm for what it writes.
    async fn ask(
        &self,
        what: &str,
        args: Vec<String>,
        input: Option<String>,
    ) -> Result<String, HelmError> {
        self.run(Run {
            what: what.to_owned(),
            args,
            input,
            output: None,
            cancel: None,
        })
        .await
    }

    pub(crate) fn program_name(&self) -> String {
        self.program.display().to_string()
    }
}

/// Labels as helm takes them (Kubernetes, "Labels and Selectors", syntax of values).
fn labels(labels: &BTreeMap<String, String>) -> Result<String, HelmError> {
    let is_label = |text: &str| {
        text.len() <= 63
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let mut text = Vec::with_capacity(labels.len());
    for (name, value) in labels {
        if !is_label(value) || !name.rsplit('/').next().is_some_and(is_label) {
            return Err(HelmError::Label(format!("{name}={value}")));
        }
        text.push(format!("{name}={value}"));
    }
    Ok(text.join(","))
}
