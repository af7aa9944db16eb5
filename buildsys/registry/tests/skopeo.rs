//! The server against skopeo, which speaks as podman and buildah do.

mod common;

use common::{Image, Ours, run};
use serde_json::Value;
use tbuild_store::Store as _;

#[tokio::test(flavor = "multi_thread")]
async fn skopeo_copies_in_and_out() {
    let ours = Ours::start().await;
    let image = Image::sample(20);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    image.write_oci_archive(&folder.path().join("image.tar"));
    let remote = format!("docker://{}/team/app:v1", ours.address);
    let archive = format!("oci-archive:{}:image", path("image.tar"));
    let copy = ["copy", "--insecure-policy"];
    let push = [&copy[..], &["--dest-tls-verify=false", &archive, &remote]].concat();
    run("skopeo", &push).await;
    let store = &ours.shelf.store;
    assert_eq!(
        store.read_blob(&image.digest()).unwrap().as_deref(),
        Some(image.manifest.as_slice()),
        "skopeo leaves the manifest as it is"
    );
    let inspect = ["inspect", "--tls-verify=false", &remote];
    let told: Value = serde_json::from_str(&run("skopeo", &inspect).await).unwrap();
    assert_eq!(told["Digest"], image.digest().to_string());
    assert_eq!(told["RepoTags"][0], "v1");

    let oci = format!("oci:{}:image", path("oci"));
    let dir = format!("dir:{}", path("dir"));
    for target in [&oci, &dir] {
        let pull = [&copy[..], &["--src-tls-verify=false", &remote, target]].concat();
        run("skopeo", &pull).await;
    }
    let blobs = folder.path().join("oci/blobs/sha256");
    let manifest = std::fs::read(blobs.join(image.digest().hex())).unwrap();
    assert_eq!(manifest, image.manifest);
    for blob in image.blobs() {
        let digest = blob.descriptor.digest;
        let bytes = std::fs::read(blobs.join(digest.hex())).unwrap();
        assert_eq!(tbuild_digest::BlobDigest::of(&bytes), digest);
        let same = std::fs::read(folder.path().join("dir").join(digest.hex())).unwrap();
        assert_eq!(same, bytes);
    }

    // By digest, into another repository, in Docker's format: another manifest, the same layers, mounted.
    let by_digest = format!("docker://{}/team/app@{}", ours.address, image.digest());
    let docker = format!("docker://{}/other:docker", ours.address);
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    let convert = [&copy[..], &tls, &["--format=v2s2", &by_digest, &docker]].concat();
    run("skopeo", &convert).await;
    let raw = ["inspect", "--raw", "--tls-verify=false", &docker];
    let raw: Value = serde_json::from_str(&run("skopeo", &raw).await).unwrap();
    assert_eq!(raw["mediaType"], tbuild_oci::media_type::DOCKER_MANIFEST);

    let delete = ["delete", "--tls-verify=false", &remote];
    run("skopeo", &delete).await;
    let tags = [
        "list-tags",
        "--tls-verify=false",
        &format!("docker://{}/team/app", ours.address),
    ];
    let failed = tokio::process::Command::new("skopeo")
        .args(tags)
        .output()
        .await
        .unwrap();
    assert!(!failed.status.success(), "the repository has nothing left");
    let whole = Image::sample(20).size();
    assert!(whole > 1_000_000);
}
