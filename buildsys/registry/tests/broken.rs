//! Connections that break, servers that fail, and futures that are dropped.

mod common;

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use common::{
    Cutter, Image, Ours, Shelf, blob, client, noise, options, reference, routes, serve_router,
    silent,
};
use http::{Method, StatusCode};
use tbuild_oci::{Descriptor, Platform};
use tbuild_registry::{
    PlainHttp, PullOptions, PushBlob, RegistryClient, RegistryError, RegistryOptions,
    Unreachability,
};
use tbuild_store::Store as _;

fn linux() -> PullOptions {
    PullOptions::new(Platform::parse("linux/amd64").unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_go_on_where_they_broke_off() {
    let ours = Ours::start().await;
    let bytes = noise(40, 4_000_000);
    let digest = ours.shelf.store.put_blob(&bytes).unwrap();
    // A greeting and small requests never reach the limit.
    let cutter = Cutter::start(ours.address, 1_000_000, 3).await;
    let descriptor = Descriptor::new("application/octet-stream", digest, bytes.len() as u64);
    let got = client()
        .get_blob(&reference(cutter.address, "a"), &descriptor, Vec::new())
        .await
        .unwrap();
    assert!(got == bytes);
    assert_eq!(cutter.cuts.load(Ordering::SeqCst), 3);
    let down = cutter.down.load(Ordering::SeqCst);
    assert!(
        down < 6_000_000,
        "{down} bytes came: it began again each time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_on_where_they_broke_off() {
    let ours = Ours::start().await;
    let bytes = noise(41, 8_000_000);
    let cutter = Cutter::start(ours.address, 3_000_000, 2).await;
    let sent = blob("application/octet-stream", &bytes);
    assert!(
        client()
            .push_blob(&reference(cutter.address, "a"), &sent)
            .await
            .unwrap()
    );
    let stored = ours.shelf.store.read_blob(&sent.descriptor.digest).unwrap();
    assert!(stored.unwrap() == bytes);
    assert_eq!(cutter.cuts.load(Ordering::SeqCst), 2);
    let up = cutter.up.load(Ordering::SeqCst);
    assert!(up < 12_000_000, "{up} bytes went: it began again each time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_always_breaks_is_given_up() {
    let ours = Ours::start().await;
    let image = Image::sample(42);
    let cutter = Cutter::start(ours.address, 1, u64::MAX).await;
    let named = reference(cutter.address, "a:v1");
    let quick = RegistryClient::new(RegistryOptions {
        retries: 2,
        ..options()
    });
    let manifest = image.manifest.clone();
    let pushed = quick
        .push_image(&named, &image.media_type, manifest, image.blobs(), silent())
        .await;
    let error = pushed.expect_err("nothing gets through");
    assert!(error.is_unreachable(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    for (registry, wanted, hint) in [
        (
            address.as_str(),
            Unreachability::Refused,
            "start the registry",
        ),
        (
            "no-such-registry.invalid",
            Unreachability::Name,
            "check the name",
        ),
    ] {
        let error = client().ping(registry).await.expect_err("nobody is there");
        match &error {
            RegistryError::Unreachable { why, .. } => assert_eq!(*why, wanted, "{error:?}"),
            other => panic!("{other:?}"),
        }
        assert!(error.hints()[0].starts_with(hint), "{:?}", error.hints());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_and_a_slow_upload_does_not() {
    let hasty = RegistryClient::new(RegistryOptions {
        retries: 1,
        read_timeout: Duration::from_millis(100),
        plain_http: PlainHttp::Always,
        ..options()
    });
    let mute = axum::Router::new().fallback(std::future::pending::<Response>);
    let error = hasty.ping(&serve_router(mute).await.to_string()).await;
    let timeout = Unreachability::Timeout;
    assert!(
        matches!(&error, Err(RegistryError::Unreachable { why, .. }) if *why == timeout),
        "{error:?}"
    );
    // Two MiB of a source that takes well over the longest silence for all of them.
    let ours = Ours::start().await;
    let bytes = noise(47, 2 << 20);
    let whole = blob("application/octet-stream", &bytes);
    let open = whole.open.clone();
    let slow = PushBlob::new(whole.descriptor.clone(), move || {
        Ok(Box::new(Slow(open()?)))
    });
    assert!(hasty.push_blob(&ours.reference("a"), &slow).await.unwrap());
}

/// Fails the first requests of each method and path.
#[derive(Clone, Default)]
struct Trouble {
    times: u64,
    status: u16,
    retry_after: Option<&'static str>,
    seen: Arc<Mutex<HashMap<String, u64>>>,
}

async fn trouble(
    axum::extract::State(trouble): axum::extract::State<Trouble>,
    request: Request,
    next: Next,
) -> Response {
    // Each upload has a path of its own.
    let path = request.uri().path();
    let path = path.find("/uploads/").map_or(path, |at| &path[..at]);
    let key = format!("{} {path}", request.method());
    let count = {
        let mut seen = trouble.seen.lock().unwrap();
        let count = seen.entry(key).or_default();
        *count += 1;
        *count
    };
    if count <= trouble.times {
        let status = StatusCode::from_u16(trouble.status).unwrap();
        let mut response = status.into_response();
        if let Some(wait) = trouble.retry_after {
            response
                .headers_mut()
                .insert("retry-after", wait.parse().unwrap());
        }
        return response;
    }
    next.run(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_pass_is_tried_again() {
    for (status, retry_after) in [(503, None), (429, Some("0")), (500, None)] {
        let shelf = Shelf::new();
        let state = Trouble {
            times: 2,
            status,
            retry_after,
            ..Trouble::default()
        };
        let app = routes(&shelf).layer(middleware::from_fn_with_state(state.clone(), trouble));
        let named = reference(serve_router(app).await, "a:v1");
        let image = Image::sample(43);
        let manifest = image.manifest.clone();
        let pushed = client()
            .push_image(&named, &image.media_type, manifest, image.blobs(), silent())
            .await
            .unwrap();
        assert_eq!(pushed.blobs_sent, 3);
        let pulled = client()
            .pull_image(&named, Shelf::new().dynamic(), &linux())
            .await
            .unwrap();
        assert_eq!(pulled.manifest.digest, image.digest());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_not_tried_again() {
    for status in [400, 403, 418] {
        let shelf = Shelf::new();
        let state = Trouble {
            times: u64::MAX,
            status,
            ..Trouble::default()
        };
        let app = routes(&shelf).layer(middleware::from_fn_with_state(state.clone(), trouble));
        let named = reference(serve_router(app).await, "a:v1");
        let error = client()
            .get_manifest(&named)
            .await
            .expect_err("it is refused");
        let said = match error {
            RegistryError::Status { status, .. } | RegistryError::Denied { status, .. } => status,
            other => panic!("{other:?}"),
        };
        assert_eq!(said, status);
        let seen = state.seen.lock().unwrap();
        assert_eq!(seen.get("GET /v2/a/manifests/v1"), Some(&1));
    }
}

/// A registry that takes no blob in one piece.
async fn chunks_only(request: Request, next: Next) -> Response {
    let length = request.headers().get("content-length");
    let empty = length.is_none_or(|length| length == "0");
    if *request.method() == Method::PUT && request.uri().path().contains("/uploads/") && !empty {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    next.run(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_goes_in_chunks_where_it_must() {
    let shelf = Shelf::new();
    let app = routes(&shelf).layer(middleware::from_fn(chunks_only));
    let repository = reference(serve_router(app).await, "a");
    let bytes = noise(44, 40 << 20);
    let sent = blob("application/octet-stream", &bytes);
    assert!(client().push_blob(&repository, &sent).await.unwrap());
    let size = shelf.store.blob_size(&sent.descriptor.digest).unwrap();
    assert_eq!(size, Some(bytes.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_read_is_not_the_registrys_fault() {
    let ours = Ours::start().await;
    let whole = blob("application/octet-stream", &noise(45, 1_000_000));
    let tries = Arc::new(AtomicU64::new(0));
    let counted = tries.clone();
    let short = PushBlob::new(whole.descriptor.clone(), move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(io::repeat(1).take(500_000)))
    });
    let error = client().push_blob(&ours.reference("a"), &short).await;
    assert!(
        matches!(error, Err(RegistryError::Local { .. })),
        "{error:?}"
    );
    assert_eq!(tries.load(Ordering::SeqCst), 1, "it is not tried again");
    let wrong = PushBlob::new(whole.descriptor.clone(), || Ok(Box::new(io::repeat(1))));
    let error = client().push_blob(&ours.reference("a"), &wrong).await;
    assert!(
        matches!(error, Err(RegistryError::Status { status: 400, .. })),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_push_stops_and_the_next_one_finishes() {
    let ours = Ours::start().await;
    let image = Image::sample(46);
    let named = ours.reference("a:v1");
    let client = client();
    let started = Arc::new(tokio::sync::Notify::new());
    let slow: Vec<PushBlob> = image
        .blobs()
        .into_iter()
        .map(|blob| {
            let (open, started) = (blob.open.clone(), started.clone());
            PushBlob::new(blob.descriptor.clone(), move || {
                started.notify_one();
                Ok(Box::new(Slow(open()?)))
            })
        })
        .collect();
    let manifest = image.manifest.clone();
    tokio::select! {
        pushed = client.push_image(&named, &image.media_type, manifest, slow, silent()) => {
            panic!("it is too slow for that: {pushed:?}");
        }
        () = started.notified() => {}
    }
    assert_eq!(client.head_manifest(&named).await.unwrap(), None);
    let manifest = image.manifest.clone();
    let pushed = client
        .push_image(&named, &image.media_type, manifest, image.blobs(), silent())
        .await
        .unwrap();
    assert!(pushed.manifest_sent);
}

struct Slow(Box<dyn Read + Send>);

impl Read for Slow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(5));
        let some = buffer.len().min(4000);
        self.0.read(&mut buffer[..some])
    }
}
