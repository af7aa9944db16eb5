//! The files that the machine is configured by.

use serde_json::{Value, json};

use crate::NodeSpec;
use crate::network::POD_BRIDGE;

/// Where containerd listens, inside the machine.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";
/// Where kubeadm finds its configuration, inside the machine.
pub(crate) const KUBEADM_CONFIG: &str = "/run/kubeadm.yaml";
/// Where volume plugins go: the default is on a part of the root that may be read-only elsewhere.
const VOLUME_PLUGINS: &str = "/var/lib/kubelet/volumeplugins";

/// What kubeadm grumbles about and what is so on purpose: a machine that is a namespace has its host's
/// processors and swap, and its kernel's configuration is not in /boot. Nothing more may be ignored: with
/// `all`, kubeadm silently adopts certificates of another cluster.
const IGNORED: [&str; 4] = ["SystemVerification", "NumCPU", "Mem", "Swap"];

/// Every file, by absolute path inside the machine.
pub(crate) fn files(spec: &NodeSpec, port: u16) -> Vec<(String, String)> {
    let node = spec.addresses.node();
    let name = &spec.name;
    let mut files = vec![
        ("/etc/hostname".to_owned(), format!("{name}\n")),
        (
            "/etc/hosts".to_owned(),
            format!("127.0.0.1 localhost\n{node} {name}\n"),
        ),
        (
            "/etc/resolv.conf".to_owned(),
            format!("nameserver {}\n", spec.addresses.gateway()),
        ),
        ("/etc/containerd/config.toml".to_owned(), containerd(spec)),
        (
            "/etc/cni/net.d/10-bridge.conflist".to_owned(),
            cni(spec).to_string(),
        ),
        (
            "/etc/cni/net.d/99-loopback.conf".to_owned(),
            json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}).to_string(),
        ),
        (KUBEADM_CONFIG.to_owned(), kubeadm(spec)),
    ];
    for host in ["localhost", "127.0.0.1"] {
        files.push((
            format!("/etc/containerd/certs.d/{host}:{port}/hosts.toml"),
            registry_host(spec, port),
        ));
    }
    files
}

/// containerd's registry host configuration (its docs/hosts.md): whatever the registry's name, ask the switch.
fn registry_host(spec: &NodeSpec, port: u16) -> String {
    let server = format!("http://{}:{port}", spec.addresses.gateway());
    format!(
        "server = \"{server}\"\n[host.\"{server}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// containerd's configuration, version 2, as Debian's 1.6 and later read it.
fn containerd(spec: &NodeSpec) -> String {
    let pause = format!("{}/pause:{}", spec.images.repository, spec.images.pause);
    format!(
        r#"version = 2
oom_score = 0
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  # Lowering an OOM score needs CAP_SYS_RESOURCE, which a machine inside a container may lack.
  restrict_oom_score_adj = true
  # Profiles would be loaded into the host's kernel and stay there.
  disable_apparmor = true
  max_concurrent_downloads = 6
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/etc/cni/net.d"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#
    )
}

/// A bridge for pods, without address translation: the host has routes to them.
fn cni(spec: &NodeSpec) -> Value {
    let subnet = spec.addresses.pods.first_24().to_string();
    json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {
            "type": "bridge", "bridge": POD_BRIDGE, "isGateway": true, "ipMasq": false, "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": subnet}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

/// kubeadm's configuration: JSON documents, which YAML reads as well.
fn kubeadm(spec: &NodeSpec) -> String {
    let argument = |name: &str, value: &str| json!({"name": name, "value": value});
    let node = spec.addresses.node().to_string();
    let kubeadm_api = "kubeadm.k8s.io/v1beta4";
    let init = json!({
        "apiVersion": kubeadm_api, "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": node, "bindPort": spec.addresses.api_server().port()},
        "nodeRegistration": {
            "name": spec.name,
            "criSocket": format!("unix://{CONTAINERD_SOCKET}"),
            "imagePullPolicy": "IfNotPresent",
            "imagePullSerial": false,
            "taints": [],
            "ignorePreflightErrors": IGNORED,
            "kubeletExtraArgs": [
                argument("node-ip", &node),
                argument("cgroup-root", &format!("/{}", spec.cgroup())),
            ],
        },
    });
    let fsync = if spec.etcd_fsync {
        json!([])
    } else {
        json!([argument("unsafe-no-fsync", "true")])
    };
    let cluster = json!({
        "apiVersion": kubeadm_api, "kind": "ClusterConfiguration",
        "clusterName": spec.name,
        "kubernetesVersion": spec.kubernetes_version,
        "imageRepository": spec.images.repository,
        "etcd": {"local": {"imageTag": spec.images.etcd, "extraArgs": fsync}},
        "dns": {"imageTag": spec.images.coredns},
        "networking": {
            "podSubnet": spec.addresses.pods,
            "serviceSubnet": spec.addresses.services,
        },
        "controlPlaneEndpoint": spec.addresses.api_server().to_string(),
        "controllerManager": {"extraArgs": [argument("flex-volume-plugin-dir", VOLUME_PLUGINS)]},
    });
    let kubelet = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "resolvConf": "/etc/resolv.conf",
        "serializeImagePulls": false,
        "volumePluginDir": VOLUME_PLUGINS,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    });
    // Zero: leave the host's connection tracking table as it is.
    let proxy = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    });
    [init, cluster, kubelet, proxy]
        .map(|document| format!("---\n{document}\n"))
        .concat()
}
