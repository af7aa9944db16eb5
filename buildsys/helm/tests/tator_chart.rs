//! The chart of this repository, rendered by the real helm: what every workload of it must have. Needs
//! TBUILD_TEST_HELM.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::collections::BTreeSet;

use common::at;
use common::tator::{chart, everything, merged};
use serde_json::{Value, json};

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
    let role = |role: &str| merged(&everything(), &json!({"role": role}));
    let all = names(&chart.render(role("all"), &[]).await);
    let data = names(&chart.render(role("data"), &[]).await);
    let web = names(&chart.render(role("web"), &[]).await);
    assert_eq!(data.intersection(&web).count(), 0);
    assert_eq!(data.union(&web).cloned().collect::<BTreeSet<_>>(), all);
    for name in [
        "StatefulSet/postgis",
        "Deployment/redis",
        "Deployment/pgbouncer",
        "Deployment/objectstore",
        "NetworkPolicy/default-deny",
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
        "Deployment/ui",
        "Deployment/transcode",
        "Deployment/transcode-worker",
        "Deployment/db-worker",
        "Deployment/image-worker",
        "CronJob/prunemedia",
        "CronJob/upload-cleanup",
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
    let mut documents = chart
        .render(merged(&everything(), &json!({"workers": workers})), &[])
        .await;
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
                // A worker that nobody calls is not restarted: it may be at something.
                if container.get("ports").is_some() {
                    at(container, "/livenessProbe");
                }
            }
            if !name.starts_with("volume-folders") {
                assert_eq!(at(pod, "/securityContext/runAsNonRoot"), true, "{name}");
            }
        }
    }
    assert_eq!(seen, 15);
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

#[tokio::test]
async fn what_has_no_image_is_named() {
    let chart = chart();
    for (image, key) in [
        ("ui", "ui.enabled"),
        ("transcode", "transcode.enabled"),
        ("tator_client", "transcodeWorker.enabled"),
        ("objectstore", "objectStore.enabled"),
        ("pgbouncer", "pgbouncer.enabled"),
    ] {
        let values = merged(
            &chart.values,
            &merged(&everything(), &json!({"images": {image: ""}})),
        );
        let error = chart
            .helm
            .template("tator", &chart.path, "tator", &values, &[])
            .await
            .unwrap_err()
            .to_string();
        let expected = format!("{key} is true, but images.{image} is not set");
        assert!(error.contains(&expected), "{error}");
    }
}

/// What the schema cannot say, the templates do, all of it at once.
#[tokio::test]
async fn contradictions_are_told() {
    let chart = chart();
    let set = json!({
        "postgresHost": "pgbouncer-svc",
        "pgbouncer": {"enabled": false},
        "objectStore": {"enabled": true, "accessKey": "", "secretKey": ""},
        "tls": {"key": "key"},
        "remoteTranscodes": {"enabled": true, "token": "Bearer abc"},
        "metallb": {"enabled": true, "ipRangeStart": "192.168.1.220"},
        "hpa": {"enabled": true, "nginxMinReplicas": 11},
    });
    let values = merged(&chart.values, &set);
    assert_eq!(chart.problems(&values), [] as [String; 0]);
    let error = chart
        .helm
        .template("tator", &chart.path, "tator", &values, &[])
        .await
        .unwrap_err()
        .to_string();
    for expected in [
        "pgbouncer.enabled is false",
        "objectStore.accessKey and objectStore.secretKey are not set",
        "tls.cert and tls.key go together",
        "set redisPassword",
        "it needs the site's certificate",
        "no token of a Kubernetes API",
        "metallb.ipRangeStart and metallb.ipRangeStop go together",
        "a MinReplicas is greater",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

/// No pod may ask the Kubernetes API anything, and each component is somebody of its own.
#[tokio::test]
async fn nobody_has_rights_in_the_cluster() {
    let chart = chart();
    let documents = chart.render(everything(), &[]).await;
    let accounts: BTreeSet<&str> = documents
        .iter()
        .filter(|one| one["kind"] == "ServiceAccount")
        .map(|one| at(one, "/metadata/name").as_str().unwrap())
        .collect();
    for one in &documents {
        let kind = one["kind"].as_str().unwrap();
        assert!(!kind.contains("Role"), "{kind}");
        let pod = match kind {
            "Deployment" | "StatefulSet" | "Job" => at(one, "/spec/template/spec"),
            "CronJob" => at(one, "/spec/jobTemplate/spec/template/spec"),
            _ => continue,
        };
        assert_eq!(at(pod, "/automountServiceAccountToken"), false);
        let account = at(pod, "/serviceAccountName").as_str().unwrap();
        assert!(accounts.contains(account), "{account}");
        if kind == "Deployment" || kind == "StatefulSet" {
            assert_eq!(account, at(one, "/metadata/name"));
        }
    }
}
