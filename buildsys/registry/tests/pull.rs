//! Images into a store: platforms, compressions, and what must be refused.

mod common;

use common::{Image, Ours, Shelf, client, gzip, layer, noise, silent};
use tbuild_digest::{BlobDigest, DiffId};
use tbuild_oci::{Descriptor, ImageConfig, Index, Manifest, Platform, media_type};
use tbuild_registry::{PullOptions, PushBlob, RegistryError};
use tbuild_store::Store as _;

fn on(platform: &str) -> PullOptions {
    PullOptions::new(Platform::parse(platform).unwrap())
}

async fn push(ours: &Ours, name: &str, image: &Image) {
    let manifest = image.manifest.clone();
    client()
        .push_image(
            &ours.reference(name),
            &image.media_type,
            manifest,
            image.blobs(),
            silent(),
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_every_compression() {
    let ours = Ours::start().await;
    let tars: Vec<Vec<u8>> = (0..3)
        .map(|seed| layer("file", noise(seed, 200_000)))
        .collect();
    let zstd = zstd::encode_all(tars[1].as_slice(), 3).unwrap();
    let image = Image::new(
        vec![
            (media_type::LAYER_GZIP, gzip(&tars[0]), &tars[0]),
            (media_type::LAYER_ZSTD, zstd, &tars[1]),
            (media_type::LAYER, tars[2].clone(), &tars[2]),
            // The same layer twice.
            (media_type::LAYER_GZIP, gzip(&tars[0]), &tars[0]),
        ],
        ("linux", "amd64"),
    );
    push(&ours, "a:v1", &image).await;
    let shelf = Shelf::new();
    let named = ours.reference("a:v1");
    let pulled = client()
        .pull_image(&named, shelf.dynamic(), &on("linux/amd64"))
        .await
        .unwrap();
    assert_eq!(pulled.layers.len(), 4);
    assert_eq!(pulled.layers[0].diff_id, pulled.layers[3].diff_id);
    for (layer, tar) in pulled.layers.iter().zip(&tars) {
        let blob = layer.diff_id.as_uncompressed_blob();
        assert_eq!(shelf.store.read_blob(&blob).unwrap().as_ref(), Some(tar));
        assert_eq!(layer.size, tar.len() as u64);
    }
    let config = shelf.store.read_blob(&pulled.config.digest).unwrap();
    assert_eq!(config.unwrap(), image.config);
    let manifest = shelf.store.read_blob(&pulled.manifest.digest).unwrap();
    assert_eq!(manifest.unwrap(), image.manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_resolved_by_platform() {
    let ours = Ours::start().await;
    let mut entries = Vec::new();
    for (seed, platform) in [(1, "linux/amd64"), (2, "linux/arm64/v8")] {
        let own = Platform::parse(platform).unwrap();
        let tar = layer("file", noise(seed, 1000));
        let layers = vec![(media_type::LAYER_GZIP, gzip(&tar), tar.as_slice())];
        let image = Image::new(layers, (&own.os, &own.architecture));
        push(&ours, &format!("a:only-{seed}"), &image).await;
        let size = image.manifest.len() as u64;
        let mut entry = Descriptor::new(&image.media_type, image.digest(), size);
        entry.platform = Some(own);
        entries.push(entry);
    }
    let index = Index::new(entries.clone()).to_bytes();
    let named = ours.reference("a:all");
    let client = client();
    let put = client
        .put_manifest(&named, media_type::INDEX, index)
        .await
        .unwrap();
    for (platform, entry) in [("linux/amd64", &entries[0]), ("linux/arm64", &entries[1])] {
        let shelf = Shelf::new();
        let pulled = client
            .pull_image(&named, shelf.dynamic(), &on(platform))
            .await
            .unwrap();
        assert_eq!(pulled.manifest.digest, entry.digest);
        assert_eq!(pulled.named.digest, put.digest);
    }
    let shelf = Shelf::new();
    let none = client
        .pull_image(&named, shelf.dynamic(), &on("linux/s390x"))
        .await;
    let error = none.expect_err("there is none");
    let wanted = "linux/s390x, only for linux/amd64, linux/arm64/v8";
    assert!(error.to_string().ends_with(wanted), "{error}");
    // An image without an index says itself what it is for.
    let single = ours.reference("a:only-1");
    let none = client
        .pull_image(&single, shelf.dynamic(), &on("linux/arm64"))
        .await;
    assert!(
        matches!(none, Err(RegistryError::Platform { .. })),
        "{none:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_diff_id_is_refused() {
    let ours = Ours::start().await;
    let (tar, other) = (layer("file", noise(1, 1000)), layer("file", noise(2, 1000)));
    let layers = vec![(media_type::LAYER_GZIP, gzip(&tar), other.as_slice())];
    push(&ours, "a:v1", &Image::new(layers, ("linux", "amd64"))).await;
    let shelf = Shelf::new();
    let named = ours.reference("a:v1");
    let pulled = client()
        .pull_image(&named, shelf.dynamic(), &on("linux/amd64"))
        .await;
    assert!(
        matches!(pulled, Err(RegistryError::Mismatch { .. })),
        "{pulled:?}"
    );
    let wrong = DiffId::of(&other).as_uncompressed_blob();
    assert_eq!(shelf.store.blob_size(&wrong).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_is_refused() {
    let ours = Ours::start().await;
    let tar = layer("zeros", vec![0; 64 << 20]);
    let layers = vec![(media_type::LAYER_GZIP, gzip(&tar), tar.as_slice())];
    push(&ours, "a:v1", &Image::new(layers, ("linux", "amd64"))).await;
    let shelf = Shelf::new();
    let mut options = on("linux/amd64");
    options.limit = 10 << 20;
    let named = ours.reference("a:v1");
    let pulled = client().pull_image(&named, shelf.dynamic(), &options).await;
    assert!(
        matches!(pulled, Err(RegistryError::TooLarge { .. })),
        "{pulled:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused() {
    let ours = Ours::start().await;
    let client = client();
    let put = |bytes: &[u8]| ours.shelf.store.put_blob(bytes).unwrap();
    let store = ours.shelf.dynamic();
    let mut cases = Vec::new();
    let chart = put(b"{}");
    let kind = "application/vnd.cncf.helm.config.v1+json";
    cases.push(Manifest::new(Descriptor::new(kind, chart, 2), Vec::new()));
    let nonsense = put(b"nonsense");
    cases.push(Manifest::new(
        Descriptor::new(media_type::CONFIG, nonsense, 8),
        Vec::new(),
    ));
    let config = ImageConfig::scratch("linux", "amd64").to_bytes();
    let bare = Descriptor::new(media_type::CONFIG, put(&config), config.len() as u64);
    let layer = Descriptor::new(media_type::LAYER, chart, 2);
    cases.push(Manifest::new(bare, vec![layer]));
    for (at, manifest) in cases.into_iter().enumerate() {
        let named = ours.reference(&format!("a:v{at}"));
        let bytes = manifest.to_bytes();
        client
            .put_manifest(&named, media_type::MANIFEST, bytes)
            .await
            .unwrap();
        let pulled = client
            .pull_image(&named, store.clone(), &on("linux/amd64"))
            .await;
        assert!(
            matches!(pulled, Err(RegistryError::NotAnImage { .. })),
            "{pulled:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushing_from_the_store_that_serves_moves_no_blob() {
    let ours = Ours::start().await;
    let image = Image::sample(60);
    for (_, bytes) in &image.layers {
        ours.shelf.store.put_blob(bytes).unwrap();
    }
    ours.shelf.store.put_blob(&image.config).unwrap();
    let blobs: Vec<PushBlob> = image
        .blobs()
        .into_iter()
        .map(|blob| PushBlob::from_store(blob.descriptor, ours.shelf.dynamic()))
        .collect();
    let manifest = image.manifest.clone();
    let pushed = client()
        .push_image(
            &ours.reference("new/app:v1"),
            &image.media_type,
            manifest,
            blobs,
            silent(),
        )
        .await
        .unwrap();
    assert_eq!((pushed.bytes_sent, pushed.blobs_existing), (0, 3));
    let there = client()
        .head_manifest(&ours.reference("new/app:v1"))
        .await
        .unwrap();
    assert_eq!(there.unwrap().digest, BlobDigest::of(&image.manifest));
}

#[test]
fn futures_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let ours = "registry.test/a:v1".parse().unwrap();
    let client = client();
    let shelf = Shelf::new();
    is_send(&client.pull_image(&ours, shelf.dynamic(), &on("linux/amd64")));
    is_send(&client.push_image(
        &ours,
        media_type::MANIFEST,
        Vec::new(),
        Vec::new(),
        silent(),
    ));
    is_send(&client.tags(&ours));
}
