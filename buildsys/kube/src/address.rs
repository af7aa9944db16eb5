//! Where what a namespace serves is to be had from outside the cluster.

use k8s_openapi::api::core::v1::{Node, Service, ServicePort};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Api;
use kube::api::ListParams;

use crate::{Cluster, KubeError};

impl Cluster {
    /// URLs of Ingresses, of Services with an address of their own, and of those with a port of the nodes.
    pub async fn addresses(&self, namespace: &str) -> Result<Vec<String>, KubeError> {
        let all = ListParams::default();
        let action = format!("list Services and Ingresses in {namespace}");
        let services = self.namespaced::<Service>(namespace);
        let ingresses = self.namespaced::<Ingress>(namespace);
        let nodes: Api<Node> = Api::all(services.clone().into_client());
        let (services, ingresses, nodes) = tokio::join!(
            self.ask(&action, services.list(&all)),
            self.ask(&action, ingresses.list(&all)),
            self.ask(&action, nodes.list(&all)),
        );
        let mut urls = Vec::new();
        for ingress in ingresses?.items {
            let spec = ingress.spec.unwrap_or_default();
            let scheme = if spec.tls.is_some() { "https" } else { "http" };
            let hosts = spec
                .rules
                .into_iter()
                .flatten()
                .filter_map(|rule| rule.host);
            urls.extend(hosts.map(|host| format!("{scheme}://{host}/")));
        }
        // Whoever may not list nodes sees the rest.
        let nodes = nodes.map(|list| list.items).unwrap_or_default();
        for service in services?.items {
            urls.extend(of_service(&service, node_address(&nodes).as_deref()));
        }
        Ok(urls)
    }
}

fn node_address(nodes: &[Node]) -> Option<String> {
    let status = nodes.first()?.status.as_ref()?;
    let addresses = status.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind);
    let found = of("ExternalIP").or_else(|| of("InternalIP"))?;
    Some(found.address.clone())
}

fn of_service(service: &Service, node: Option<&str>) -> Vec<String> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if kind != "LoadBalancer" && kind != "NodePort" {
        return Vec::new();
    }
    let given = service.status.iter().flat_map(|status| {
        let balancer = status.load_balancer.as_ref();
        balancer
            .and_then(|one| one.ingress.as_ref())
            .into_iter()
            .flatten()
    });
    let mut hosts: Vec<String> = given
        .filter_map(|one| one.hostname.clone().or_else(|| one.ip.clone()))
        .collect();
    hosts.extend(spec.external_ips.iter().flatten().cloned());
    let mut urls = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Some(scheme) = scheme(port) else { continue };
        if hosts.is_empty()
            && let (Some(node), Some(port)) = (node, port.node_port)
        {
            urls.push(format!("{scheme}://{node}:{port}/"));
        }
        for host in &hosts {
            let usual = port.port == if scheme == "https" { 443 } else { 80 };
            let port = if usual {
                String::new()
            } else {
                format!(":{}", port.port)
            };
            urls.push(format!("{scheme}://{host}{port}/"));
        }
    }
    urls
}

/// How a port is spoken to, as far as its name and number tell.
fn scheme(port: &ServicePort) -> Option<&'static str> {
    match (port.name.as_deref(), port.port) {
        (Some("https"), _) | (_, 443) => Some("https"),
        (Some("http" | "web"), _) | (_, 80 | 8080) => Some("http"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_service_is_where_its_address_or_a_nodes_port_is() {
        let service = |value| serde_json::from_value::<Service>(value).unwrap();
        let ports = json!([{"name": "http", "port": 80, "nodePort": 30080}, {"name": "db", "port": 5432, "nodePort": 1}]);
        let node_port = service(json!({"spec": {"type": "NodePort", "ports": ports}}));
        assert_eq!(
            of_service(&node_port, Some("10.0.0.1")),
            ["http://10.0.0.1:30080/"]
        );
        let balanced = service(json!({
            "spec": {"type": "LoadBalancer", "ports": [{"name": "https", "port": 443}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}},
        }));
        assert_eq!(of_service(&balanced, None), ["https://192.0.2.7/"]);
        let inner = service(json!({"spec": {"ports": ports}}));
        assert!(of_service(&inner, Some("10.0.0.1")).is_empty());
    }
}
