//! Debian's docker-registry, read by skopeo.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

pub struct Registry {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Registry {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = free.local_addr().expect("a port");
        drop(free);
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("file");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).env_clear();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("package docker-registry");
        while TcpStream::connect(address).is_err() {
            let ended = child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "docker-registry ended");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    fn skopeo(arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("skopeo").args(arguments).output();
        let output = output.expect("package skopeo");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "skopeo {arguments:?}: {said}");
        output.stdout
    }

    /// The document that a name stands for.
    fn document(&self, rest: &str) -> Vec<u8> {
        let name = format!("docker://{}", self.reference(rest));
        Self::skopeo(&["inspect", "--tls-verify=false", "--raw", &name])
    }

    pub fn raw(&self, rest: &str) -> Value {
        serde_json::from_slice(&self.document(rest)).expect("JSON")
    }

    /// The digest of that document.
    pub fn digest(&self, rest: &str) -> String {
        tbuild_digest::BlobDigest::of(&self.document(rest)).to_string()
    }

    /// What a machine of an architecture sees under a name.
    pub fn inspect(&self, rest: &str, arch: &str) -> Value {
        let name = format!("docker://{}", self.reference(rest));
        let own = format!("--override-arch={arch}");
        let text = Self::skopeo(&[
            "inspect",
            "--override-os=linux",
            &own,
            "--tls-verify=false",
            &name,
        ]);
        serde_json::from_slice(&text).expect("JSON")
    }

    /// Pulls what a machine of an architecture pulls into a layout.
    pub fn pull(&self, rest: &str, arch: &str, to: &Path) {
        let (name, to) = (
            format!("docker://{}", self.reference(rest)),
            format!("oci:{}:it", to.display()),
        );
        let own = format!("--override-arch={arch}");
        let plain = "--src-tls-verify=false";
        Self::skopeo(&["copy", "-q", "--override-os=linux", &own, plain, &name, &to]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
