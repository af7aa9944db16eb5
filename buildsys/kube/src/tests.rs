//! Tests of what needs no cluster; `examples/check.rs` is for a real one.

use std::path::Path;

use crate::{Cluster, KubeError};

fn kubeconfig(folder: &Path, server: &str) -> std::path::PathBuf {
    let path = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
         users: [{{name: u, user: {{}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u, namespace: n}}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn nobody_listening_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let path = kubeconfig(folder.path(), &format!("http://127.0.0.1:{port}"));
    let cluster = Cluster::connect(&[path], None).await.unwrap();
    assert_eq!(cluster.default_namespace(), "n");
    let error = cluster.version().await.unwrap_err();
    assert!(matches!(error, KubeError::Unreachable { .. }), "{error:?}");
    assert!(error.is_unreachable());
    assert!(error.to_string().contains(&port.to_string()));
}

#[tokio::test]
async fn what_is_wrong_with_a_kubeconfig_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let none = Cluster::connect(&[], None).await.unwrap_err();
    assert!(matches!(none, KubeError::NoKubeconfig));
    let absent = folder.path().join("absent");
    let absent = Cluster::connect(&[absent], None).await.unwrap_err();
    assert!(absent.to_string().contains("absent"), "{absent}");
    let path = kubeconfig(folder.path(), "http://127.0.0.1:1");
    let other = Cluster::connect(&[path], Some("other")).await.unwrap_err();
    assert!(other.to_string().contains("other"), "{other}");
}
