//! What the tests that run the real helm share.
#![allow(dead_code, reason = "not every test file uses all of it")]

pub mod tator;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tbuild_digest::Sha256;
use tbuild_helm::{Helm, Package, package};
use tbuild_tree::{Entry, Node, Tree, TreePath};
use tempfile::TempDir;

/// A variable that must be set: a missing tool is a failure, never a skip.
fn needed(name: &str, what: &str) -> PathBuf {
    match std::env::var_os(name) {
        Some(value) => PathBuf::from(value),
        None => panic!("{name} must be set to {what}"),
    }
}

/// The real program, with a home of its own.
pub fn helm(home: &Path) -> Helm {
    let env = [
        "HOME",
        "HELM_CACHE_HOME",
        "HELM_CONFIG_HOME",
        "HELM_DATA_HOME",
    ]
    .map(|name| (name.to_owned(), home.display().to_string()));
    Helm {
        program: needed(
            "TBUILD_TEST_HELM",
            "the path of helm (tbuild tool helm --path)",
        ),
        env: BTreeMap::from(env),
        ..Helm::default()
    }
}

/// The real program and a real cluster.
pub fn helm_with_cluster(home: &Path) -> Helm {
    let kubeconfig = needed(
        "TBUILD_TEST_KUBECONFIG",
        "the kubeconfig of a cluster where namespaces can be made",
    );
    Helm {
        kubeconfig: Some(kubeconfig),
        ..helm(home)
    }
}

/// Writes files below a new folder.
pub fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

/// Packages the chart in a folder.
pub fn package_folder(root: &Path) -> Package {
    let mut entries = Vec::new();
    walk(root, &TreePath::root(), &mut entries);
    let tree = Tree::new(entries).unwrap();
    let read =
        |entry: &Entry| std::fs::read(root.join(str::from_utf8(entry.path.as_bytes()).unwrap()));
    package(&tree, &mut { read }).unwrap()
}

fn walk(root: &Path, at: &TreePath, entries: &mut Vec<Entry>) {
    for item in std::fs::read_dir(root.join(str::from_utf8(at.as_bytes()).unwrap())).unwrap() {
        let item = item.unwrap();
        let path = at.join(item.file_name().as_encoded_bytes());
        if item.file_type().unwrap().is_dir() {
            entries.push(Entry::new(path.clone(), 0o755, Node::Directory));
            walk(root, &path, entries);
        } else {
            let bytes = std::fs::read(item.path()).unwrap();
            let node = Node::File {
                size: bytes.len() as u64,
                digest: Sha256::of(&bytes),
            };
            entries.push(Entry::new(path, 0o644, node));
        }
    }
}

/// Writes a package as helm reads it.
pub fn archive(package: &Package, folder: &Path) -> PathBuf {
    let path = folder.join(package.file_name());
    std::fs::write(&path, &package.archive).unwrap();
    path
}

/// Follows keys, and panics where they lead nowhere.
pub fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value
        .pointer(pointer)
        .unwrap_or_else(|| panic!("no {pointer} in {value:#}"))
}
