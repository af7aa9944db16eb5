//! The chart of this repository, rendered by the real helm: what every workload of it must have. Needs
//! TBUILD_TEST_HELM.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{archive, at, helm, package_folder};
use serde_json::{Value, json};
use tbuild_helm::{Helm, Package, coalesce, merge_values, validate_values};
use tempfile::TempDir;

struct Chart {
    home: TempDir,
    helm: Helm,
    package: Package,
    path: PathBuf,
    values: Value,
}

/// The chart with its demo values and images.
fn chart() -> Chart {
    let home = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/tator");
    let package = package_folder(&root);
    let demo = std::fs::read_to_string(root.join("values-demo.yaml")).unwrap();
    let reference = |name: &str| format!("localhost:5000/{name}@sha256:{}", "a1".repeat(32));
    let names = ["tator_online", "tator_static", "postgis", "redis", "nginx"];
    let images: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), json!(reference(name))))
        .collect();
    let values = merge_values(
        &[("values-demo.yaml".to_owned(), demo)],
        &json!({"images": images}),
    )
    .unwrap();
    let path = archive(&package, home.path());
    Chart {
        helm: helm(home.path()),
        home,
        package,
        path,
        values,
    }
}

impl Chart {
    async fn render(&self, set: Value, show_only: &[&str]) -> Vec<Value> {
        let values = merged(&self.values, &set);
        assert_eq!(self.problems(&values), [] as [String; 0]);
        self.helm
            .template("tator", &self.path, "tator", &values, show_only)
            .await
            .unwrap()
    }

    fn problems(&self, values: &Value) -> Vec<String> {
        let all = coalesce(&self.package.values, values);
        let problems = validate_values(self.package.schema.as_ref().unwrap(), &all).unwrap();
        problems.iter().map(ToString::to_string).collect()
    }
}

fn merged(values: &Value, set: &Value) -> Value {
    merge_values(&[(String::new(), values.to_string())], set).unwrap()
}

fn names(documents: &[Value]) -> BTreeSet<String> {
    documents
        .iter()
        .map(|one| {
            format!(
                "{}/{}",
                one["kind"].as_str().unwrap(),
                at(one, "/metadata/name").as_str().unwrap()
            )
        })
        .map(|name| {
            if name.starts_with("Job/volume-folders-") {
                "Job/volume-folders".to_owned()
            } else {
                name
            }
        })
        .collect()
}

#[tokio::test]
async fn it_passes_helms_own_checks() {
    let chart = chart();
    chart.helm.lint(&chart.path, &chart.values).await.unwrap();
    assert!(chart.home.path().exists());
}

#[tokio::test]
async fn its_two_roles_are_the_whole_and_share_nothing() {
    let chart = chart();
    let all = names(&chart.render(json!({"role": "all"}), &[]).await);
    let data = names(&chart.render(json!({"role": "data"}), &[]).await);
    let web = names(&chart.render(json!({"role": "web"}), &[]).await);
    assert_eq!(data.intersection(&web).count(), 0);
    assert_eq!(data.union(&web).cloned().collect::<BTreeSet<_>>(), all);
    for name in [
        "StatefulSet/postgis",
        "Deployment/redis",
        "Secret/tator-secrets",
        "PersistentVolumeClaim/main-pv-claim",
        "Job/volume-folders",
    ] {
        assert!(data.contains(name), "{name}");
    }
    for name in [
        "Deployment/gunicorn",
        "Deployment/nginx",
        "Service/nginx-svc",
    ] {
        assert!(web.contains(name), "{name}");
    }
}

#[tokio::test]
async fn the_data_tier_does_not_know_the_sites_image() {
    let chart = chart();
    let before = chart.render(json!({"role": "data"}), &[]).await;
    let other = format!("localhost:5000/tator_online@sha256:{}", "b2".repeat(32));
    let after = chart.render(json!({"role": "data", "images": {"tator_online": other, "tator_static": other, "nginx": other}}), &[]).await;
    assert_eq!(before, after);
}

#[tokio::test]
async fn every_workload_is_probed_bounded_and_unprivileged() {
    let chart = chart();
    let workers =
        json!([{"name": "db-worker", "command": ["python3", "main/worker.py"], "probe": ["true"]}]);
    let mut documents = chart.render(json!({"workers": workers}), &[]).await;
    documents.extend(chart.render(json!({"task": "migrate", "taskKey": "0123456789", "migrate": {"extensions": ["ltree"]}}), &["templates/tasks/migrate.yaml"]).await);
    documents.extend(
        chart
            .render(
                json!({"task": "collect-static", "taskKey": "0123456789"}),
                &["templates/tasks/collect-static.yaml"],
            )
            .await,
    );
    let mut seen = 0;
    for one in &documents {
        let kind = one["kind"].as_str().unwrap();
        if !["Deployment", "StatefulSet", "Job"].contains(&kind) {
            continue;
        }
        seen += 1;
        let name = at(one, "/metadata/name").as_str().unwrap();
        let pod = at(one, "/spec/template/spec");
        assert!(
            at(pod, "/nodeSelector")
                .as_object()
                .unwrap()
                .values()
                .all(|value| value == "yes"),
            "{name}"
        );
        assert_eq!(at(pod, "/automountServiceAccountToken"), false);
        if kind == "Deployment" {
            assert_eq!(
                at(one, "/spec/strategy/rollingUpdate/maxUnavailable"),
                0,
                "{name}"
            );
        }
        for container in at(pod, "/containers").as_array().unwrap() {
            assert!(
                at(container, "/image")
                    .as_str()
                    .unwrap()
                    .contains("@sha256:")
            );
            assert!(
                at(container, "/resources/limits/memory").is_string(),
                "{name}"
            );
            assert_eq!(
                at(container, "/securityContext/allowPrivilegeEscalation"),
                false
            );
            assert_eq!(
                at(container, "/securityContext/readOnlyRootFilesystem"),
                true
            );
            if kind != "Job" {
                at(container, "/readinessProbe");
                at(container, "/livenessProbe");
            }
            if !name.starts_with("volume-folders") {
                assert_eq!(at(pod, "/securityContext/runAsNonRoot"), true, "{name}");
            }
        }
    }
    assert_eq!(seen, 8);
}

#[tokio::test]
async fn tasks_are_rendered_alone() {
    let chart = chart();
    let values = merged(
        &chart.values,
        &json!({"task": "migrate", "taskKey": "00ff00ff00"}),
    );
    let all = chart
        .helm
        .template("tator", &chart.path, "tator", &values, &[])
        .await
        .unwrap();
    assert_eq!(
        names(&all),
        BTreeSet::from(["Job/migrate-00ff00ff00".to_owned()])
    );
    assert_eq!(at(&all[0], "/spec/backoffLimit"), 0);
}

#[test]
fn a_wrong_value_is_named() {
    let chart = chart();
    let problems = |set: Value| chart.problems(&merged(&chart.values, &set));
    assert_eq!(problems(json!({})), [] as [String; 0]);
    let cases = [
        (json!({"domian": "x"}), "'domian' was unexpected"),
        (
            json!({"service": {"nodePort": "30080"}}),
            "service.nodePort: ",
        ),
        (json!({"pv": {"path": "relative"}}), "pv.path: "),
        (json!({"role": "web-tier"}), "role: "),
        (
            json!({"images": {"nginx": "localhost:5000/nginx:latest"}}),
            "images.nginx: ",
        ),
        (json!({"postgresHost": "db.example.com"}), "postgresHost: "),
        (json!({"loadBalancerIp": "nowhere"}), "loadBalancerIp: "),
        (
            json!({"workers": [{"name": "a", "command": ["b"]}]}),
            "workers[0]: ",
        ),
    ];
    for (set, expected) in cases {
        let found = problems(set.clone());
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{set}: {found:?}"
        );
    }
    assert_eq!(
        problems(json!({"postgresHost": "db.example.com", "postgis": {"enabled": false}})),
        [] as [String; 0]
    );
}

/// The keys of the deployment tutorials are known: they count, or have been retired and do not matter.
#[test]
fn the_tutorials_values_are_accepted() {
    let chart = chart();
    let tutorial = "\
domain: your.domain.com
tatorDebug: true
useMinJs: false
maintenance: false
postgresHost: pgbouncer-svc
postgresUsername: django
redisHost: tator-redis-master
elasticsearchHost: elasticsearch-master
dockerUsername: test
dockerPassword: test
dockerRegistry: 'localhost:5000'
systemImageRepo: 'localhost:5000'
requireHttps: false
certCron: {enabled: false}
pv: {nfsServer: 192.168.1.114, nfsMountOptions: [nfsvers=3, nolock], path: /media/kubernetes_share}
pvc: {size: 10Ti}
hpa: {nginxMinReplicas: 1, nginxMaxReplicas: 10, nginxCpuPercent: 50, tusdMinReplicas: 1}
metallb: {enabled: true, existingConfigMap: metallb-config, ipRangeStart: 192.168.1.220, ipRangeStop: 192.168.1.224, loadBalancerIp: 192.168.1.221}
postgis: {enabled: true, persistence: {size: 10Gi}, hostPath: /media/ssd/postgis}
redis: {enabled: true, master: {persistence: {enabled: false}}, nodeSelector: {dbServer: 'yes'}, usePassword: false}
metrics-server: {enabled: true}
elasticsearch: {enabled: true, replicas: 1}
";
    let tutorial = tbuild_helm::parse_yaml(tutorial).unwrap();
    assert_eq!(
        chart.problems(&merged(&chart.values, &tutorial)),
        [] as [String; 0]
    );
}
