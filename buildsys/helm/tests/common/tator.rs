//! The tator chart, for tests that render it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tbuild_helm::{Helm, Package, coalesce, merge_values, validate_values};
use tempfile::TempDir;

use super::{archive, helm, package_folder};

/// The chart of this repository, and the helm that renders it.
pub struct Chart {
    /// helm's.
    pub home: TempDir,
    /// The real program.
    pub helm: Helm,
    /// Its files, read.
    pub package: Package,
    /// Its archive.
    pub path: PathBuf,
    /// Its demo values, and images.
    pub values: Value,
}

/// The chart with its demo values and images.
pub fn chart() -> Chart {
    let home = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/tator");
    let package = package_folder(&root);
    let demo = std::fs::read_to_string(root.join("values-demo.yaml")).unwrap();
    let reference = |name: &str| format!("localhost:5000/{name}@sha256:{}", "a1".repeat(32));
    let images: serde_json::Map<String, Value> = package.values["images"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| (name.clone(), json!(reference(name))))
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
    /// Renders it with more values, which have to be right.
    pub async fn render(&self, set: Value, show_only: &[&str]) -> Vec<Value> {
        let values = merged(&self.values, &set);
        assert_eq!(self.problems(&values), [] as [String; 0]);
        self.helm
            .template("tator", &self.path, "tator", &values, show_only)
            .await
            .unwrap()
    }

    /// What the schema says of values.
    pub fn problems(&self, values: &Value) -> Vec<String> {
        let all = coalesce(&self.package.values, values);
        let problems = validate_values(self.package.schema.as_ref().unwrap(), &all).unwrap();
        problems.iter().map(ToString::to_string).collect()
    }
}

/// Values over others.
pub fn merged(values: &Value, set: &Value) -> Value {
    merge_values(&[(String::new(), values.to_string())], set).unwrap()
}

/// Every component that there is.
pub fn everything() -> Value {
    let on = json!({"enabled": true});
    json!({
        "ui": on, "transcode": on, "transcodeWorker": on, "dbWorker": on, "imageWorker": on, "pgbouncer": on, "cron": on,
        "objectStore": {"enabled": true, "accessKey": "site", "secretKey": "long-and-secret"},
    })
}
