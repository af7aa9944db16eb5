//! The wrapper against the real helm, and where a cluster is needed against a real one. Needs TBUILD_TEST_HELM and
//! TBUILD_TEST_KUBECONFIG.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{archive, folder, helm, helm_with_cluster, package_folder};
use serde_json::{Value, json};
use tbuild_exec::{Cancel, Stream};
use tbuild_helm::{Helm, HelmError, Recovery, Upgrade, Version, coalesce, parse_yaml};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const CHART: &str = "apiVersion: v2\nname: demo\nversion: 0.1.0\n";
/// A ConfigMap, one more where `extra`, and where `stuck` a Deployment that can never be ready.
const TEMPLATE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: demo}
data: {text: {{ .Values.text | quote }}}
{{- if .Values.extra }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
{{- end }}
{{- if .Values.stuck }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: stuck}
spec:
  selector: {matchLabels: {app: stuck}}
  template:
    metadata: {labels: {app: stuck}}
    spec:
      nodeSelector: {no: node}
      containers: [{name: none, image: registry.test/none}]
{{- end }}
";

struct Demo {
    home: TempDir,
    chart: PathBuf,
    namespace: String,
}

impl Demo {
    /// A chart, and a namespace that no other run uses.
    fn new(name: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let source = folder(&[
            ("Chart.yaml", CHART),
            ("values.yaml", "text: one\nextra: false\nstuck: false\n"),
            ("templates/demo.yaml", TEMPLATE),
        ]);
        let chart = archive(&package_folder(source.path()), home.path());
        let unique = home.path().file_name().unwrap().to_str().unwrap();
        let unique = tbuild_digest::Sha256::of(unique.as_bytes()).hex();
        Self {
            chart,
            namespace: format!("tbuild-test-{name}-{}", &unique[..12]),
            home,
        }
    }

    fn upgrade<'a>(
        &'a self,
        values: &'a Value,
        labels: &'a BTreeMap<String, String>,
        wait: bool,
    ) -> Upgrade<'a> {
        Upgrade {
            release: "demo",
            chart: &self.chart,
            namespace: &self.namespace,
            values,
            labels,
            timeout: Duration::from_secs(if wait { 300 } else { 30 }),
            wait,
            force_conflicts: false,
        }
    }

    /// Upgrades without waiting.
    async fn apply(&self, helm: &Helm, values: Value) -> Result<(), HelmError> {
        let labels = BTreeMap::new();
        helm.upgrade_install(
            &self.upgrade(&values, &labels, false),
            &mut |_, _| {},
            &Cancel::new(),
        )
        .await
    }

    /// Starts an upgrade that waits for what never comes, and returns once helm has recorded it.
    async fn stuck(
        &self,
        values: Value,
        cancel: Cancel,
        status: &str,
    ) -> JoinHandle<Result<(), HelmError>> {
        let (home, chart, namespace) = (
            self.home.path().to_owned(),
            self.chart.clone(),
            self.namespace.clone(),
        );
        let task = tokio::spawn(async move {
            let labels = BTreeMap::new();
            let upgrade = Upgrade {
                release: "demo",
                chart: &chart,
                namespace: &namespace,
                values: &values,
                labels: &labels,
                timeout: Duration::from_mins(5),
                wait: true,
                force_conflicts: false,
            };
            helm_with_cluster(&home)
                .upgrade_install(&upgrade, &mut |_, _| {}, &cancel)
                .await
        });
        let helm = helm_with_cluster(self.home.path());
        for _ in 0..600 {
            let last = helm.status("demo", &self.namespace).await.unwrap();
            if last.is_some_and(|last| last.status == status)
                && self.names(&helm).await.contains("stuck")
            {
                return task;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("the release never became {status}");
    }

    /// What `helm get manifest` says is installed by the last revision.
    async fn names(&self, helm: &Helm) -> String {
        let _ = helm.version().await.unwrap();
        self.helm_text(helm, &["get", "manifest", "demo"])
    }

    fn helm_text(&self, helm: &Helm, args: &[&str]) -> String {
        let output = Command::new(&helm.program)
            .args(args)
            .args(["--namespace", &self.namespace])
            .env_clear()
            .envs(&helm.env)
            .env(
                "KUBECONFIG",
                helm.kubeconfig.as_deref().unwrap_or(Path::new("")),
            )
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Which of the objects are really there: helm lists them as resources of the release.
    fn live(&self, helm: &Helm) -> String {
        self.helm_text(helm, &["status", "demo", "--output=json"])
    }

    async fn gone(self, helm: &Helm) {
        helm.uninstall(
            "demo",
            &self.namespace,
            Duration::from_mins(1),
            &mut |_, _| {},
            &Cancel::new(),
        )
        .await
        .unwrap();
        assert_eq!(helm.status("demo", &self.namespace).await.unwrap(), None);
    }
}

#[tokio::test]
async fn helm_reads_what_is_packaged_and_packages_the_same_files() {
    let home = tempfile::tempdir().unwrap();
    let helm = helm(home.path());
    let dependent = format!("{CHART}dependencies: [{{name: inner, version: 0.1.0}}]\n");
    let source = folder(&[
        ("Chart.yaml", &dependent),
        (
            ".helmignore",
            "# c\n*.bak\n/only-here\nsub/*.txt\n[x-z]*\n\\#odd\nlogs/\n\n  spaced  \nq?\n",
        ),
        ("values.yaml", "a: 1\n"),
        ("values.schema.json", "{}"),
        ("LICENSE", "l"),
        ("README.md", "r"),
        ("a.bak", ""),
        ("only-here", ""),
        ("sub/only-here", ""),
        ("sub/x.txt", ""),
        ("sub/deep/k.txt", ""),
        ("xa", ""),
        ("#odd", ""),
        ("logs/l", ""),
        ("sub/logs/l", ""),
        ("spaced", ""),
        ("qq", ""),
        ("qqq", ""),
        ("templates/a.yaml", ""),
        ("templates/.hidden", ""),
        ("templates/NOTES.txt", "n"),
        ("crds/c.yaml", ""),
        (
            "charts/inner/Chart.yaml",
            "apiVersion: v2\nname: inner\nversion: 0.1.0\n",
        ),
        ("charts/inner/templates/i.yaml", ""),
    ]);
    let ours = package_folder(source.path());
    let done = Command::new(&helm.program)
        .args(["package", ".", "--destination"])
        .arg(home.path())
        .current_dir(source.path())
        .env_clear()
        .envs(&helm.env)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let theirs = std::fs::read(home.path().join(ours.file_name())).unwrap();

    let files = |archive: &[u8]| {
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        let mut paths: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        paths.sort();
        paths
    };
    assert_eq!(files(&ours.archive), files(&theirs));

    let chart = archive(&ours, home.path());
    helm.lint(&chart, &json!({})).await.unwrap();
    assert!(
        helm.version().await.unwrap()
            >= Version {
                major: 3,
                minor: 14
            }
    );
}

#[tokio::test]
async fn values_coalesce_as_in_helm() {
    let home = tempfile::tempdir().unwrap();
    let helm = helm(home.path());
    let shapes = [
        "null",
        "1",
        "text",
        "[1, 2]",
        "{}",
        "{x: 1, t: {z: 1}}",
        "{x: null, w: 2}",
        "{t: null}",
        "{t: {z: null, v: yes}}",
        "{t: {z: null, u: {a: null, b: 1}}}",
    ];
    let mut defaults = String::new();
    let mut values = String::new();
    for (a, default) in shapes.iter().enumerate() {
        writeln!(defaults, "only{a}: {default}").unwrap();
        writeln!(values, "user{a}: {default}").unwrap();
        for (b, value) in shapes.iter().enumerate() {
            writeln!(defaults, "k{a}-{b}: {default}").unwrap();
            writeln!(values, "k{a}-{b}: {value}").unwrap();
        }
    }
    let source = folder(&[
        ("Chart.yaml", CHART),
        ("values.yaml", &defaults),
        (
            "templates/v.yaml",
            "values: {{ omit .Values \"global\" | toJson | quote }}\n",
        ),
    ]);
    let package = package_folder(source.path());
    let chart = archive(&package, home.path());
    let values = parse_yaml(&values).unwrap();
    let rendered = helm
        .template("demo", &chart, "default", &values, &["templates/v.yaml"])
        .await
        .unwrap();
    let theirs: Value = serde_json::from_str(rendered[0]["values"].as_str().unwrap()).unwrap();
    let ours = coalesce(&package.values, &values);
    for (key, value) in theirs.as_object().unwrap() {
        assert_eq!(ours.get(key), Some(value), "{key}");
    }
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn errors_are_helms_own() {
    let home = tempfile::tempdir().unwrap();
    let helm = helm(home.path());
    let source = folder(&[
        ("Chart.yaml", CHART),
        (
            "templates/x.yaml",
            "a: {{ required \"a is needed\" .Values.a }}\n",
        ),
        (
            "values.schema.json",
            r#"{"properties": {"a": {"type": "string"}}}"#,
        ),
    ]);
    let chart = archive(&package_folder(source.path()), home.path());
    let render = async |values: Value| helm.template("demo", &chart, "default", &values, &[]).await;
    assert_eq!(
        render(json!({"a": "b"})).await.unwrap(),
        [json!({"a": "b"})]
    );
    for (values, expected) in [
        (json!({}), "a is needed"),
        (json!({"a": 1}), "got number, want string"),
    ] {
        let Err(HelmError::Failed { what, message, .. }) = render(values).await else {
            panic!("rendered");
        };
        assert_eq!(what, "helm template demo");
        assert!(message.contains(expected), "{message}");
    }
    let none = Helm {
        program: "/nowhere/helm".into(),
        ..Helm::default()
    };
    assert!(matches!(none.version().await, Err(HelmError::Start { .. })));
    let old = folder(&[("helm", "#!/bin/sh\necho v3.2.3\n")]);
    let program = old.path().join("helm");
    std::fs::set_permissions(
        &program,
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let old = Helm {
        program,
        ..Helm::default()
    };
    assert!(matches!(old.version().await, Err(HelmError::Version(version)) if version == "v3.2.3"));
}

#[tokio::test]
async fn a_release_is_installed_upgraded_and_rolled_back() {
    let demo = Demo::new("life");
    let helm = helm_with_cluster(demo.home.path());
    assert_eq!(helm.status("demo", &demo.namespace).await.unwrap(), None);

    let labels = BTreeMap::from([("tbuild-key".to_owned(), "0123456789abcdef".to_owned())]);
    let values = json!({"text": "secret"});
    let mut lines = Vec::new();
    helm.upgrade_install(
        &demo.upgrade(&values, &labels, true),
        &mut |stream, line| lines.push((stream, line.to_owned())),
        &Cancel::new(),
    )
    .await
    .unwrap();
    assert!(
        lines.contains(&(Stream::Stdout, "STATUS: deployed".to_owned())),
        "{lines:?}"
    );
    let labelled = demo.helm_text(
        &helm,
        &["list", "--selector=tbuild-key=0123456789abcdef", "--short"],
    );
    assert_eq!(labelled.trim(), "demo");

    demo.apply(&helm, json!({"text": "two"})).await.unwrap();
    assert!(demo.names(&helm).await.contains("\"two\""));
    helm.rollback(
        "demo",
        &demo.namespace,
        Some(1),
        Some(Duration::from_mins(1)),
        &mut |_, _| {},
        &Cancel::new(),
    )
    .await
    .unwrap();
    assert!(demo.names(&helm).await.contains("\"secret\""));
    let history = helm.history("demo", &demo.namespace).await.unwrap();
    let states: Vec<(u32, &str)> = history
        .iter()
        .map(|one| (one.revision, one.status.as_str()))
        .collect();
    assert_eq!(
        states,
        [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    );

    let bad = BTreeMap::from([("tbuild-key".to_owned(), "0".repeat(64))]);
    let refused = helm
        .upgrade_install(
            &demo.upgrade(&values, &bad, false),
            &mut |_, _| {},
            &Cancel::new(),
        )
        .await;
    assert!(matches!(refused, Err(HelmError::Label(_))));
    demo.gone(&helm).await;
}

#[tokio::test]
async fn a_failed_upgrade_stays_for_inspection_until_it_is_rolled_back() {
    let demo = Demo::new("fail");
    let helm = helm_with_cluster(demo.home.path());
    demo.apply(&helm, json!({})).await.unwrap();
    let (values, labels) = (json!({"stuck": true}), BTreeMap::new());
    let mut upgrade = demo.upgrade(&values, &labels, true);
    upgrade.timeout = Duration::from_secs(2);
    let error = helm
        .upgrade_install(&upgrade, &mut |_, _| {}, &Cancel::new())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HelmError::Failed { what, .. } if what == "helm upgrade demo"),
        "{error}"
    );
    assert_eq!(
        helm.status("demo", &demo.namespace)
            .await
            .unwrap()
            .unwrap()
            .status,
        "failed"
    );
    assert!(
        demo.live(&helm).contains("stuck"),
        "nothing was rolled back yet"
    );
    helm.rollback(
        "demo",
        &demo.namespace,
        None,
        None,
        &mut |_, _| {},
        &Cancel::new(),
    )
    .await
    .unwrap();
    assert!(!demo.names(&helm).await.contains("stuck"));
    demo.gone(&helm).await;
}

#[tokio::test]
async fn a_cancelled_upgrade_is_marked_failed() {
    let demo = Demo::new("cancel");
    let helm = helm_with_cluster(demo.home.path());
    let cancel = Cancel::new();
    let task = demo
        .stuck(json!({"stuck": true}), cancel.clone(), "pending-install")
        .await;
    cancel.cancel();
    assert!(matches!(task.await.unwrap(), Err(HelmError::Cancelled(_))));
    assert_eq!(
        helm.status("demo", &demo.namespace)
            .await
            .unwrap()
            .unwrap()
            .status,
        "failed"
    );
    demo.apply(&helm, json!({})).await.unwrap();
    demo.gone(&helm).await;
}

#[tokio::test]
async fn an_installation_that_died_is_removed_and_made_again() {
    let demo = Demo::new("install");
    let helm = helm_with_cluster(demo.home.path());
    let task = demo
        .stuck(json!({"stuck": true}), Cancel::new(), "pending-install")
        .await;
    task.abort();
    let _ = task.await;
    let refused = demo.apply(&helm, json!({})).await.unwrap_err();
    assert!(
        refused.to_string().contains("another operation"),
        "{refused}"
    );

    let recover = async |alive| {
        helm.recover(
            "demo",
            &demo.namespace,
            alive,
            Duration::from_mins(1),
            &mut |_, _| {},
            &Cancel::new(),
        )
        .await
    };
    assert!(
        matches!(recover(true).await, Err(HelmError::InProgress { status, .. }) if status == "pending-install")
    );
    assert_eq!(recover(false).await.unwrap(), Recovery::Uninstalled);
    demo.apply(&helm, json!({})).await.unwrap();
    assert_eq!(recover(false).await.unwrap(), Recovery::NotNeeded);
    demo.gone(&helm).await;
}

#[tokio::test]
async fn an_upgrade_that_died_goes_back_to_what_was_deployed() {
    let demo = Demo::new("upgrade");
    let helm = helm_with_cluster(demo.home.path());
    demo.apply(&helm, json!({"text": "first"})).await.unwrap();
    let task = demo
        .stuck(
            json!({"stuck": true, "extra": true, "text": "dead"}),
            Cancel::new(),
            "pending-upgrade",
        )
        .await;
    task.abort();
    let _ = task.await;
    assert!(demo.apply(&helm, json!({})).await.is_err());

    let recovered = helm
        .recover(
            "demo",
            &demo.namespace,
            false,
            Duration::from_mins(1),
            &mut |_, _| {},
            &Cancel::new(),
        )
        .await;
    assert_eq!(recovered.unwrap(), Recovery::RolledBack { to: 1 });
    assert!(demo.names(&helm).await.contains("\"first\""));
    // What only the dead upgrade made is gone: helm lets no other release make what belongs to this one.
    let source = folder(&[
        ("Chart.yaml", CHART),
        (
            "templates/extra.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n",
        ),
    ]);
    let (values, labels) = (json!({}), BTreeMap::new());
    let other = Upgrade {
        release: "other",
        chart: source.path(),
        ..demo.upgrade(&values, &labels, false)
    };
    helm.upgrade_install(&other, &mut |_, _| {}, &Cancel::new())
        .await
        .unwrap();
    demo.apply(&helm, json!({"text": "next"})).await.unwrap();
    demo.gone(&helm).await;
}
