//! The client against Debian's docker-registry.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Cutter, Distribution, Image, Shelf, client, options, reference, run, silent};
use tbuild_oci::Platform;
use tbuild_registry::{
    PlainHttp, PullOptions, Pushed, RegistryClient, RegistryError, RegistryOptions, Unreachability,
};
use tbuild_store::Store as _;

async fn push(
    client: &RegistryClient,
    reference: &tbuild_oci::Reference,
    image: &Image,
) -> Result<Pushed, RegistryError> {
    let manifest = image.manifest.clone();
    let kind = &image.media_type;
    client
        .push_image(reference, kind, manifest, image.blobs(), silent())
        .await
}

fn linux() -> PullOptions {
    PullOptions::new(Platform::parse("linux/amd64").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn push_nothing_twice_and_pull() {
    let registry = Distribution::start("").await;
    let client = client();
    client.ping(&registry.address.to_string()).await.unwrap();
    let image = Image::sample(30);
    let named = registry.reference("team/app:v1");
    assert_eq!(client.head_manifest(&named).await.unwrap(), None);
    assert!(matches!(
        client.get_manifest(&named).await,
        Err(RegistryError::NotFound { .. })
    ));

    let last = Arc::new(AtomicU64::new(0));
    let seen = last.clone();
    let total = image.size();
    let progress = Arc::new(move |done: u64, of: u64| {
        assert_eq!(of, total);
        seen.fetch_max(done, Ordering::SeqCst);
    });
    let manifest = image.manifest.clone();
    let kind = &image.media_type;
    let pushed = client
        .push_image(&named, kind, manifest, image.blobs(), progress)
        .await
        .unwrap();
    assert_eq!(pushed.blobs_sent, 3);
    assert_eq!(pushed.bytes_sent, total);
    assert!(pushed.manifest_sent);
    assert_eq!(last.load(Ordering::SeqCst), total);

    let there = client.head_manifest(&named).await.unwrap().unwrap();
    assert_eq!(there, pushed.manifest);
    let again = push(&client, &named, &image).await.unwrap();
    assert_eq!((again.blobs_sent, again.bytes_sent), (0, 0));
    assert!(!again.manifest_sent);

    // Another tag: the manifest alone travels.
    let tagged = push(&client, &registry.reference("team/app:v2"), &image)
        .await
        .unwrap();
    assert_eq!((tagged.blobs_sent, tagged.blobs_existing), (0, 3));
    assert!(tagged.manifest_sent);
    assert_eq!(client.tags(&named).await.unwrap(), ["v1", "v2"]);

    // Another repository: blobs are mounted.
    let other = registry.reference("other/app:v1");
    let mut blobs = image.blobs();
    for blob in &mut blobs {
        blob.mount_from = Some("team/app".to_owned());
    }
    let manifest = image.manifest.clone();
    let mounted = client
        .push_image(&other, kind, manifest, blobs, silent())
        .await
        .unwrap();
    assert_eq!((mounted.blobs_mounted, mounted.bytes_sent), (3, 0));

    let shelf = Shelf::new();
    let pulled = client
        .pull_image(&other, shelf.dynamic(), &linux())
        .await
        .unwrap();
    assert_eq!(pulled.manifest.digest, image.digest());
    let diff_ids: Vec<_> = pulled.layers.iter().map(|layer| layer.diff_id).collect();
    assert_eq!(diff_ids, image.diff_ids);
    for layer in &pulled.layers {
        let blob = layer.diff_id.as_uncompressed_blob();
        let bytes = shelf.store.read_blob(&blob).unwrap().unwrap();
        assert_eq!(bytes.len() as u64, layer.size);
    }
    let by_digest = other.with_digest(image.digest());
    let again = client
        .pull_image(&by_digest, shelf.dynamic(), &linux())
        .await
        .unwrap();
    assert_eq!(again, pulled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_survives_broken_connections() {
    let registry = Distribution::start("").await;
    let cutter = Cutter::start(registry.address, 200_000, 3).await;
    let image = Image::sample(31);
    let named = reference(cutter.address, "app:v1");
    let pushed = push(&client(), &named, &image).await.unwrap();
    assert_eq!(pushed.bytes_sent, image.size());
    assert_eq!(cutter.cuts.load(Ordering::SeqCst), 3);
    let shelf = Shelf::new();
    let direct = registry.reference("app:v1");
    let pulled = client()
        .pull_image(&direct, shelf.dynamic(), &linux())
        .await
        .unwrap();
    assert_eq!(pulled.manifest.digest, image.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem").display().to_string();
    let certificate = folder.path().join("certificate.pem").display().to_string();
    let name = "subjectAltName=IP:127.0.0.1";
    let make = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ];
    let what = [
        "-nodes",
        "-keyout",
        &key,
        "-out",
        &certificate,
        "-days",
        "2",
    ];
    let leaf = "basicConstraints=critical,CA:FALSE";
    let rest = [
        "-subj",
        "/CN=registry.test",
        "-addext",
        name,
        "-addext",
        leaf,
    ];
    run("openssl", &[&make[..], &what, &rest].concat()).await;
    let tls = format!("  tls: {{certificate: {certificate}, key: {key}}}\n");
    let registry = Distribution::start(&tls).await;
    let host = registry.address.to_string();
    let trusting = |plain_http| {
        RegistryClient::new(RegistryOptions {
            ca_file: Some(certificate.clone().into()),
            plain_http,
            ..options()
        })
    };
    trusting(PlainHttp::Never).ping(&host).await.unwrap();
    trusting(PlainHttp::Auto).ping(&host).await.unwrap();
    let named = registry.reference("app:v1");
    let pushed = push(&trusting(PlainHttp::Auto), &named, &Image::sample(32)).await;
    assert_eq!(pushed.unwrap().blobs_sent, 3);
    // Who does not trust it does not talk to it in plain text instead.
    let error = client().ping(&host).await.expect_err("it is not trusted");
    let tls =
        matches!(&error, RegistryError::Unreachable { why, .. } if *why == Unreachability::Tls);
    assert!(tls && error.is_unreachable(), "{error:?}");
    assert!(
        error.hints()[0].contains("certificate"),
        "{:?}",
        error.hints()
    );
    // And a registry without TLS is not used where TLS is wanted.
    let plain = Distribution::start("").await;
    let error = trusting(PlainHttp::Never)
        .ping(&plain.address.to_string())
        .await;
    assert!(
        matches!(error, Err(RegistryError::Unreachable { .. })),
        "{error:?}"
    );
}
