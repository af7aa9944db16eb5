//! Checks this crate against a real cluster: `check KUBECONFIG IMAGE`, where IMAGE has a shell. Works in a
//! namespace of its own, which it deletes. Ends with an error at the first thing that is not so.

#![expect(clippy::print_stderr, reason = "a command-line program")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tbuild_kube::{Cluster, Exec, JobOutcome, LogRequest, Rollout, Task};
use tokio::sync::mpsc;

type Outcome = Result<(), Box<dyn Error>>;

const NAMESPACE: &str = "tbuild-kube-check";

struct Check {
    cluster: Cluster,
    client: Client,
    image: String,
}

fn ensure(holds: bool, what: impl std::fmt::Display) -> Outcome {
    if holds {
        return Ok(());
    }
    Err(format!("not so: {what}").into())
}

impl Check {
    fn job(image: &str, script: &str) -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "check"},
            "spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": image, "command": ["/bin/sh", "-c", script]}],
            }}},
        })
    }

    fn task(key: &str, manifest: Value) -> Task {
        Task {
            namespace: NAMESPACE.to_owned(),
            name: "check".to_owned(),
            key: key.to_owned(),
            manifest,
        }
    }

    async fn run(
        &self,
        task: &Task,
        limit: u64,
    ) -> Result<(JobOutcome, Vec<String>), Box<dyn Error>> {
        let job = self.cluster.apply_job(task).await?;
        let mut lines = Vec::new();
        let limit = Duration::from_secs(limit);
        let outcome = self
            .cluster
            .wait_job(NAMESPACE, &job.name, limit, |line| lines.push(line.text))
            .await?;
        Ok((outcome, lines))
    }

    async fn tasks(&self) -> Outcome {
        let last = || self.cluster.last_task_key(NAMESPACE, "check");
        ensure(last().await?.is_none(), "no task succeeded yet")?;
        let script =
            "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; sleep 1; echo end";
        let task = Self::task("aaaaaaaaaaaaaaaa", Self::job(&self.image, script));
        let began = Instant::now();
        let (outcome, lines) = self.run(&task, 120).await?;
        eprintln!("a Job with 3001 lines: {:?}", began.elapsed());
        ensure(outcome == JobOutcome::Succeeded, format!("{outcome:?}"))?;
        let expected: Vec<_> = (0..3000)
            .map(|i| format!("line {i}"))
            .chain(["end".to_owned()])
            .collect();
        ensure(lines == expected, format!("{} lines in order", lines.len()))?;
        ensure(
            last().await?.as_deref() == Some("aaaaaaaaaaaaaaaa"),
            "the key is recorded",
        )?;

        let failing = Self::task(
            "bbbbbbbbbbbbbbbb",
            Self::job(&self.image, "echo so it ends; exit 3"),
        );
        let (outcome, lines) = self.run(&failing, 120).await?;
        let JobOutcome::Failed(failure) = outcome else {
            return Err("a Job that exits with 3 succeeded".into());
        };
        eprintln!("{failure}");
        ensure(failure.reason.contains("exit status 3"), &failure.reason)?;
        ensure(
            failure.last_log_lines == ["so it ends"],
            "its last line is told",
        )?;
        ensure(lines == ["so it ends"], "its log was streamed")?;
        ensure(
            last().await?.as_deref() == Some("aaaaaaaaaaaaaaaa"),
            "a failure is not recorded",
        )?;

        let absent = format!(
            "{}-that-is-not-there",
            self.image.split('@').next().unwrap_or_default()
        );
        let absent = Self::task("cccccccccccccccc", Self::job(&absent, "true"));
        let (outcome, _) = self.run(&absent, 120).await?;
        let JobOutcome::Failed(failure) = outcome else {
            return Err("a Job without image succeeded".into());
        };
        eprintln!("{failure}");
        ensure(failure.reason.contains("ImagePull"), &failure.reason)?;
        ensure(!failure.events.is_empty(), "events are told")?;

        let slow = Self::task(
            "dddddddddddddddd",
            Self::job(&self.image, "echo begun; sleep 600"),
        );
        let first = self.cluster.apply_job(&slow).await?;
        let second = self.cluster.apply_job(&slow).await?;
        ensure(
            !first.adopted && second.adopted,
            "a Job that runs is adopted",
        )?;
        let (outcome, lines) = self.run(&slow, 5).await?;
        ensure(
            matches!(outcome, JobOutcome::Failed(_)),
            "a deadline passes",
        )?;
        ensure(
            lines == ["begun"],
            format!("its log was streamed meanwhile: {lines:?}"),
        )?;
        let again = Self::task("aaaaaaaaaaaaaaaa", Self::job(&self.image, "echo again"));
        let (outcome, lines) = self.run(&again, 60).await?;
        ensure(
            outcome == JobOutcome::Succeeded && lines == ["again"],
            "one that is over is made anew",
        )?;
        let pruned = self
            .cluster
            .prune_jobs(NAMESPACE, "check", "check-aaaaaaaaaa")
            .await?;
        ensure(pruned == 1, format!("the failed Job is pruned, {pruned}"))?;
        Ok(())
    }

    async fn deploy(&self, script: &str) -> Outcome {
        let labels = json!({"app": "web"});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "web", "namespace": NAMESPACE,
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "site"},
            },
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
                    "name": "main", "image": self.image, "command": ["/bin/sh", "-c", script],
                }]},
            }},
        });
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let parameters = PatchParams::apply("check").force();
        deployments
            .patch("web", &parameters, &Patch::Apply(deployment))
            .await?;
        Ok(())
    }

    async fn watch(&self, until: impl Fn(&Rollout) -> bool) -> Result<Rollout, Box<dyn Error>> {
        let watch = self
            .cluster
            .watch_rollout(NAMESPACE, "site", Duration::from_millis(200));
        let mut watch = std::pin::pin!(watch);
        let limit = tokio::time::sleep(Duration::from_mins(3));
        tokio::pin!(limit);
        loop {
            tokio::select! {
                rollout = watch.next() => {
                    let rollout = rollout.ok_or("the watch ended")??;
                    eprintln!("{:?} failing {:?}", rollout.workloads, rollout.failing.as_ref().map(|f| &f.reason));
                    if until(&rollout) {
                        return Ok(rollout);
                    }
                }
                () = &mut limit => return Err("a rollout did not come so far in 3 minutes".into()),
            }
        }
    }

    async fn rollouts(&self) -> Outcome {
        self.deploy("echo up; sleep 100000").await?;
        let rollout = self
            .watch(|rollout| !rollout.workloads.is_empty() && rollout.done())
            .await?;
        ensure(
            rollout.workloads[0].ready == 2 && rollout.failing.is_none(),
            "both pods are ready",
        )?;
        let watching = self.watch(|rollout| rollout.for_good);
        let (rollout, changed) = tokio::join!(watching, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.deploy("echo Traceback of the app; exit 1").await
        });
        changed?;
        let failure = rollout?.failing.ok_or("for good, but nothing fails")?;
        eprintln!("{failure}");
        ensure(
            failure.last_log_lines == ["Traceback of the app"],
            "the traceback is told",
        )?;
        ensure(
            failure.container.as_deref() == Some("main"),
            "the container is named",
        )?;
        let status = self.cluster.status(NAMESPACE).await?;
        ensure(
            !status.warnings.is_empty(),
            "back-off is among the warnings",
        )?;
        ensure(
            status.pods.iter().any(|pod| pod.trouble.is_some()),
            "the pod's trouble is shown",
        )?;
        self.deploy("echo up; sleep 100000").await?;
        self.watch(|rollout| rollout.done() && rollout.failing.is_none())
            .await?;
        Ok(())
    }

    async fn pods(&self) -> Outcome {
        let pods = self.cluster.pods(NAMESPACE, "app=web").await?;
        let pod = pods.iter().find(|pod| pod.ready).ok_or("no pod is ready")?;
        ensure(
            pod.containers[0].digest.is_some(),
            "the image's digest is known",
        )?;
        let mut lines = Vec::new();
        let request = LogRequest {
            tail: Some(1),
            follow: true,
            ..LogRequest::default()
        };
        self.cluster
            .logs(NAMESPACE, "app=web", &request, |line| {
                lines.push(line.text);
                lines.len() < 2
            })
            .await?;
        ensure(
            lines == ["up", "up"],
            format!("both pods' logs are followed: {lines:?}"),
        )?;
        let mut exec = Exec {
            namespace: NAMESPACE.to_owned(),
            pod: pod.name.clone(),
            container: None,
            command: ["/bin/sh", "-c", "read x; echo got $x; echo bad >&2; exit 7"]
                .map(str::to_owned)
                .into(),
            terminal: false,
        };
        let (_keep, sizes) = mpsc::channel(1);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let outcome = self
            .cluster
            .exec(&exec, &b"word\n"[..], &mut out, &mut err, sizes)
            .await?;
        ensure(
            outcome.status == 7,
            format!("exit status {}", outcome.status),
        )?;
        ensure(
            (&out[..], &err[..]) == (b"got word\n", b"bad\n"),
            "both outputs come",
        )?;
        exec.terminal = true;
        exec.command = ["/bin/sh", "-c", "tty && read x && echo got $x"]
            .map(str::to_owned)
            .into();
        let (keep, sizes) = mpsc::channel(1);
        keep.try_send(tbuild_kube::TerminalSize {
            width: 93,
            height: 31,
        })?;
        let mut out = Vec::new();
        let outcome = self
            .cluster
            .exec(&exec, &b"word\n"[..], &mut out, tokio::io::sink(), sizes)
            .await?;
        let said = String::from_utf8_lossy(&out).into_owned();
        ensure(
            outcome.status == 0 && said.contains("/dev/pts/") && said.contains("got word"),
            &said,
        )?;
        let deleted = self.cluster.delete_pods(NAMESPACE, "app=web").await?;
        ensure(deleted == 2, format!("two pods are deleted, {deleted}"))?;
        self.watch(Rollout::done).await?;
        Ok(())
    }
}

async fn run(kubeconfig: PathBuf, image: String) -> Outcome {
    let cluster = Cluster::connect(std::slice::from_ref(&kubeconfig), None).await?;
    eprintln!("{} {}", cluster.url(), cluster.version().await?);
    let config = Kubeconfig::read_from(&kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    let check = Check {
        client: Client::try_from(config)?,
        cluster,
        image,
    };
    let made = check.cluster.ensure_namespace(NAMESPACE).await?;
    ensure(made, format!("namespace {NAMESPACE} was not there"))?;
    ensure(
        !check.cluster.ensure_namespace(NAMESPACE).await?,
        "it is made once",
    )?;
    let none = check.cluster.release_state(NAMESPACE, "none").await?;
    ensure(none.is_none(), "a release that is not there has no state")?;
    let checked = async {
        check.tasks().await?;
        check.rollouts().await?;
        check.pods().await
    }
    .await;
    let namespaces: Api<Namespace> = Api::all(check.client.clone());
    namespaces
        .delete(NAMESPACE, &DeleteParams::default())
        .await?;
    checked
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, image] = &arguments[..] else {
        eprintln!("usage: check KUBECONFIG IMAGE");
        return ExitCode::from(2);
    };
    match run(PathBuf::from(kubeconfig), image.clone()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
