//! What the tator chart installs in the ways it is used, compared with what it did: a change of a template is seen
//! here, with all it does. With TBUILD_BLESS=1 the renders are written. Needs TBUILD_TEST_HELM.

#![allow(
    clippy::disallowed_methods,
    reason = "tests read the machine they run on"
)]

mod common;

use std::path::{Path, PathBuf};

use common::at;
use common::tator::{Chart, chart, merged};
use serde_json::{Value, json};
use tbuild_helm::parse_yaml;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The values of a profile, and the images.
fn values(chart: &Chart, profile: &str) -> Value {
    if profile == "demo" {
        return chart.values.clone();
    }
    let text = std::fs::read_to_string(folder().join(format!("{profile}.values.yaml"))).unwrap();
    let images = json!({"images": chart.values["images"]});
    merged(&parse_yaml(&text).unwrap(), &images)
}

async fn compare(profile: &str) {
    let chart = chart();
    let values = values(&chart, profile);
    assert_eq!(chart.problems(&values), [] as [String; 0]);
    chart.helm.lint(&chart.path, &values).await.unwrap();
    let mut documents = chart
        .helm
        .template("tator", &chart.path, "tator", &values, &[])
        .await
        .unwrap();
    documents.sort_by_key(|one| {
        let text = |pointer| at(one, pointer).as_str().unwrap().to_owned();
        (text("/kind"), text("/metadata/name"))
    });
    let mut made = String::new();
    let mut first = None;
    for one in &documents {
        print(&as_the_first(one, &mut first), 0, 0, &mut made);
        made.push('\n');
    }
    let path = folder().join(format!("{profile}.json"));
    if std::env::var_os("TBUILD_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let line = there
        .lines()
        .zip(made.lines())
        .position(|(old, new)| old != new);
    assert!(
        there == made,
        "{profile}: another render than {}, from line {} on; if it is right: TBUILD_BLESS=1",
        path.display(),
        line.unwrap_or_default() + 1
    );
}

/// Commands by the clock differ in three things: after the first, only these are written where the rest is the same.
fn as_the_first(one: &Value, first: &mut Option<(String, Value)>) -> Value {
    if one["kind"] != "CronJob" {
        return one.clone();
    }
    let name = at(one, "/metadata/name").as_str().unwrap().to_owned();
    let schedule = at(one, "/spec/schedule").clone();
    let command = "/spec/jobTemplate/spec/template/spec/containers/0/command";
    let mut rest = one.clone();
    *rest.pointer_mut("/spec/schedule").unwrap() = json!("");
    *rest.pointer_mut(command).unwrap() = json!("");
    let rest = rest.to_string().replace(&json!(name).to_string(), "NAME");
    match first {
        Some((first, same)) if *same == rest => {
            json!({"kind": "CronJob", "name": name, "like": first, "schedule": schedule, "command": at(one, command)})
        }
        Some(_) => one.clone(),
        None => {
            *first = Some((name, json!(rest)));
            one.clone()
        }
    }
}

/// JSON with what fits into a line in one. `taken` says how much of the line is not the value's.
fn print(value: &Value, depth: usize, taken: usize, out: &mut String) {
    let flat = value.to_string();
    if flat.len() + taken <= 140 {
        out.push_str(&flat);
        return;
    }
    let pad = "  ".repeat(depth + 1);
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (format!("{}: ", json!(key)), value))
            .collect(),
        Value::Array(items) => items.iter().map(|item| (String::new(), item)).collect(),
        _ => return out.push_str(&flat),
    };
    let (open, close) = if value.is_object() {
        ('{', '}')
    } else {
        ('[', ']')
    };
    out.push(open);
    for (index, (key, value)) in entries.iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&pad);
        out.push_str(key);
        print(value, depth + 1, pad.len() + key.len(), out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}

/// One machine with everything, its folders as volumes.
#[tokio::test]
async fn single_node() {
    compare("single-node").await;
}

/// Several machines: NFS, MetalLB, TLS, autoscalers.
#[tokio::test]
async fn multi_node() {
    compare("multi-node").await;
}

/// Transcode workers of a site that is elsewhere.
#[tokio::test]
async fn job_cluster() {
    compare("job-cluster").await;
}

/// The site of ci/fixtures.
#[tokio::test]
async fn demo() {
    compare("demo").await;
}
