//! Debian's Docker Engine, started by a test.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tbuild_docker::DockerEngine;

/// A dockerd of the test's own: its folders, socket and processes end with it.
pub struct Dockerd {
    child: Child,
    folder: tempfile::TempDir,
}

impl Dockerd {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let at = |name: &str| folder.path().join(name);
        let child = Command::new("/usr/sbin/dockerd")
            .arg(format!("--data-root={}", at("data").display()))
            .arg(format!("--exec-root={}", at("exec").display()))
            .arg(format!("--pidfile={}", at("pid").display()))
            .arg(format!("--host=unix://{}", at("docker.sock").display()))
            // Bare folders: nothing is mounted that a failed test would leave behind.
            .args(["--storage-driver=vfs", "--bridge=none", "--iptables=false"])
            .args(["--ip-masq=false", "--exec-opt=native.cgroupdriver=cgroupfs"])
            .arg(format!("--cgroup-parent=/{}", Self::cgroup()))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts; it is in Debian's docker.io");
        Self { child, folder }
    }

    /// The cgroup that its containers' are in; it leaves it behind.
    fn cgroup() -> String {
        format!("tbuild-test-{}", std::process::id())
    }

    pub fn host(&self) -> String {
        format!(
            "unix://{}",
            self.folder.path().join("docker.sock").display()
        )
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the engine answers.
    pub async fn engine(&mut self) -> DockerEngine {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            if let Ok(engine) = DockerEngine::connect(Some(&self.host()))
                && engine.ping().await.is_ok()
            {
                return engine;
            }
            let ended = self.child.try_wait().expect("a child");
            assert!(ended.is_none(), "dockerd ended: {}", self.log());
            assert!(
                Instant::now() < deadline,
                "dockerd is not up: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The docker command line on this engine.
    pub fn docker(&self, arguments: &[&str]) -> std::process::Output {
        let output = Command::new("docker")
            .arg("--host")
            .arg(self.host())
            .args(arguments)
            .env("DOCKER_CONFIG", self.folder.path().join("client"))
            // A client that is newer than the engine speaks the engine's language.
            .env("DOCKER_API_VERSION", "1.41")
            .output();
        output.expect("docker runs")
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // By its id; it takes its containerd along.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        // It leaves behind: where its containers' network namespaces were, and its cgroup in each hierarchy.
        let netns = self.folder.path().join("exec/netns");
        for mount in fs::read_dir(&netns).into_iter().flatten().flatten() {
            let _ = Command::new("umount")
                .arg(mount.path())
                .stderr(Stdio::null())
                .status();
        }
        let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
        for hierarchy in hierarchies.flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(Self::cgroup()));
        }
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(Self::cgroup()));
    }
}
