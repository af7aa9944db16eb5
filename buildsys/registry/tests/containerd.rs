//! The server against containerd, which pulls for a Kubernetes node.

mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Image, Ours, client, run, silent};
use tbuild_store::Store as _;

/// A containerd of the test's own.
struct Containerd {
    child: Child,
    folder: tempfile::TempDir,
}

impl Containerd {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let config = folder.path().join("config.toml");
        // Contents alone: nothing is unpacked, mounted or run.
        let text = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            at("socket")
        );
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new("containerd")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("containerd starts; it is a package of Debian's");
        Self { child, folder }
    }

    async fn ctr(&mut self, arguments: &[&str]) -> String {
        let socket = self.folder.path().join("socket");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !socket.exists() {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
            assert!(Instant::now() < deadline, "{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let socket = socket.display().to_string();
        run("ctr", &[&["--address", &socket][..], arguments].concat()).await
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn containerd_pulls_and_pushes() {
    let ours = Ours::start().await;
    let image = Image::sample(70);
    let named = ours.reference("team/app:v1");
    let manifest = image.manifest.clone();
    client()
        .push_image(&named, &image.media_type, manifest, image.blobs(), silent())
        .await
        .unwrap();
    let mut containerd = Containerd::start();
    let by_digest = format!("{}/team/app@{}", ours.address, image.digest());
    for reference in [&named.to_string(), &by_digest] {
        let fetch = [
            "content",
            "fetch",
            "--plain-http",
            "--all-platforms",
            reference,
        ];
        containerd.ctr(&fetch).await;
    }
    let here = containerd.ctr(&["content", "ls", "-q"]).await;
    for blob in image.blobs() {
        let digest = blob.descriptor.digest.to_string();
        assert!(here.contains(&digest), "{digest} is not among {here}");
    }

    // And into another registry of ours, that has nothing yet.
    let other = Ours::start().await;
    let target = format!("{}/copy/of/app:v2", other.address);
    let push = [
        "images",
        "push",
        "--plain-http",
        &target,
        &named.to_string(),
    ];
    containerd.ctr(&push).await;
    let stored = other.shelf.store.read_blob(&image.digest()).unwrap();
    assert_eq!(stored, Some(image.manifest.clone()));
    let there = client()
        .head_manifest(&target.parse().unwrap())
        .await
        .unwrap();
    assert_eq!(there.unwrap().digest, image.digest());
}
