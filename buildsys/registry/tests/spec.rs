//! The server against the specification: who asks what gets which status, headers and error code.

mod common;

use common::{Image, Ours, http, noise};
use http::{Method, StatusCode};
use reqwest::Response;
use serde_json::{Value, json};
use tbuild_digest::BlobDigest;
use tbuild_oci::{Descriptor, Index, Manifest, media_type};
use tbuild_registry::ServerOptions;
use tbuild_store::Store as _;

struct Talk {
    ours: Ours,
    http: reqwest::Client,
}

impl Talk {
    async fn start() -> Self {
        Self {
            ours: Ours::start().await,
            http: http(),
        }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.ours.address);
        self.http.request(method, url)
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// Puts a blob at once.
    async fn blob(&self, name: &str, bytes: &[u8]) -> BlobDigest {
        let digest = BlobDigest::of(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let request = self.request(Method::POST, &path).body(bytes.to_vec());
        assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
        digest
    }

    async fn manifest(&self, name: &str, reference: &str, kind: &str, bytes: &[u8]) -> Response {
        self.request(Method::PUT, &format!("/v2/{name}/manifests/{reference}"))
            .header("content-type", kind)
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
    }

    /// Puts a whole image under a tag.
    async fn image(&self, name: &str, tag: &str, image: &Image) {
        self.blob(name, &image.config).await;
        for (_, bytes) in &image.layers {
            self.blob(name, bytes).await;
        }
        let put = self
            .manifest(name, tag, &image.media_type, &image.manifest)
            .await;
        assert_eq!(put.status(), StatusCode::CREATED);
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("{name} is there"))
        .to_str()
        .unwrap()
}

async fn code(response: Response) -> String {
    let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    body["errors"][0]["code"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses() {
    let talk = Talk::start().await;
    let image = Image::sample(1);
    talk.image("team/app", "v1", &image).await;
    let digest = image.digest();
    let blob = BlobDigest::of(&image.config);
    let nowhere = BlobDigest::of(b"nowhere");
    let (get, head) = (Method::GET, Method::HEAD);
    for (method, path, status, wanted) in [
        (get.clone(), "/v2/".to_owned(), 200, ""),
        (get.clone(), "/v2".to_owned(), 200, ""),
        (Method::POST, "/v2/".to_owned(), 405, "UNSUPPORTED"),
        (get.clone(), "/".to_owned(), 404, "UNSUPPORTED"),
        (get.clone(), "/v2/_catalog".to_owned(), 200, ""),
        (get.clone(), format!("/v2/team/app/blobs/{blob}"), 200, ""),
        (head.clone(), format!("/v2/team/app/blobs/{blob}"), 200, ""),
        // A blob belongs to the store: every repository has it.
        (head.clone(), format!("/v2/other/blobs/{blob}"), 200, ""),
        (
            get.clone(),
            format!("/v2/team/app/blobs/{nowhere}"),
            404,
            "BLOB_UNKNOWN",
        ),
        (
            head.clone(),
            format!("/v2/team/app/blobs/{nowhere}"),
            404,
            "",
        ),
        (
            get.clone(),
            "/v2/team/app/blobs/sha256:12".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            get.clone(),
            "/v2/Team/blobs/sha256:12".to_owned(),
            400,
            "NAME_INVALID",
        ),
        (
            Method::DELETE,
            format!("/v2/team/app/blobs/{blob}"),
            405,
            "UNSUPPORTED",
        ),
        (get.clone(), "/v2/team/app/manifests/v1".to_owned(), 200, ""),
        (
            head.clone(),
            "/v2/team/app/manifests/v1".to_owned(),
            200,
            "",
        ),
        (
            get.clone(),
            format!("/v2/team/app/manifests/{digest}"),
            200,
            "",
        ),
        (
            get.clone(),
            "/v2/team/app/manifests/v2".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        // A manifest belongs to a repository.
        (
            get.clone(),
            format!("/v2/other/manifests/{digest}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            get.clone(),
            format!("/v2/team/app/manifests/{nowhere}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            get.clone(),
            "/v2/team/app/manifests/.bad".to_owned(),
            400,
            "MANIFEST_INVALID",
        ),
        (
            get.clone(),
            "/v2/team/app/manifests/sha256:1".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            Method::PATCH,
            "/v2/team/app/manifests/v1".to_owned(),
            405,
            "UNSUPPORTED",
        ),
        (get.clone(), "/v2/team/app/tags/list".to_owned(), 200, ""),
        (
            get.clone(),
            "/v2/other/tags/list".to_owned(),
            404,
            "NAME_UNKNOWN",
        ),
        (
            get.clone(),
            "/v2/team/app/tags/list?n=x".to_owned(),
            400,
            "PAGINATION_NUMBER_INVALID",
        ),
        (
            get.clone(),
            format!("/v2/team/app/referrers/{nowhere}"),
            200,
            "",
        ),
        (
            get.clone(),
            "/v2/team/app/referrers/bad".to_owned(),
            400,
            "DIGEST_INVALID",
        ),
        (
            get.clone(),
            "/v2/team/app/blobs/uploads/none".to_owned(),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            Method::PATCH,
            "/v2/team/app/blobs/uploads/none".to_owned(),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            Method::DELETE,
            "/v2/team/app/blobs/uploads/none".to_owned(),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        ),
        (
            Method::DELETE,
            "/v2/team/app/manifests/v9".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (
            Method::DELETE,
            "/v2/team/app/manifests/v1".to_owned(),
            202,
            "",
        ),
        (
            get.clone(),
            "/v2/team/app/manifests/v1".to_owned(),
            404,
            "MANIFEST_UNKNOWN",
        ),
        // Without its tag it is still there by digest.
        (
            get.clone(),
            format!("/v2/team/app/manifests/{digest}"),
            200,
            "",
        ),
        (
            Method::DELETE,
            format!("/v2/team/app/manifests/{digest}"),
            202,
            "",
        ),
        (
            get,
            format!("/v2/team/app/manifests/{digest}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
    ] {
        let response = talk.request(method.clone(), &path).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{method} {path}");
        assert_eq!(
            header(&response, "docker-distribution-api-version"),
            "registry/2.0"
        );
        if !wanted.is_empty() {
            assert_eq!(code(response).await, wanted, "{method} {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_whole_and_in_parts() {
    let talk = Talk::start().await;
    let bytes = noise(7, 1_000_000);
    let digest = talk.blob("a", &bytes).await;
    let path = format!("/v2/a/blobs/{digest}");
    let whole = talk.get(&path).await;
    assert_eq!(header(&whole, "docker-content-digest"), digest.to_string());
    assert_eq!(header(&whole, "content-length"), "1000000");
    assert_eq!(whole.bytes().await.unwrap(), bytes);
    let head = talk.request(Method::HEAD, &path).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), "1000000");
    for (asked, start, end) in [
        ("0-9", 0, 9),
        ("999990-", 999_990, 999_999),
        ("-5", 999_995, 999_999),
    ] {
        let part = talk
            .request(Method::GET, &path)
            .header("range", format!("bytes={asked}"));
        let part = part.send().await.unwrap();
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            header(&part, "content-range"),
            format!("bytes {start}-{end}/1000000")
        );
        assert_eq!(part.bytes().await.unwrap(), &bytes[start..=end]);
    }
    let beyond = talk
        .request(Method::GET, &path)
        .header("range", "bytes=1000000-");
    let beyond = beyond.send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&beyond, "content-range"), "bytes */1000000");
    let empty = talk.blob("a", b"").await;
    let empty = talk.get(&format!("/v2/a/blobs/{empty}")).await;
    assert_eq!(empty.status(), StatusCode::OK);
    assert_eq!(empty.bytes().await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_blob_never_arrives_whole() {
    let talk = Talk::start().await;
    let bytes = noise(8, 1_000_000);
    let digest = talk.blob("a", &bytes).await;
    let shelf = &talk.ours.shelf;
    let file = shelf
        .folder
        .path()
        .join("store/blobs/sha256")
        .join(digest.hex());
    let mut rotten = bytes.clone();
    rotten[10] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, &rotten).unwrap();
    let answer = talk.get(&format!("/v2/a/blobs/{digest}")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.bytes().await.is_err(), "the connection breaks");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_in_chunks() {
    let talk = Talk::start().await;
    let bytes = noise(9, 3_000_000);
    let digest = BlobDigest::of(&bytes);
    let begun = talk
        .request(Method::POST, "/v2/a/b/blobs/uploads/")
        .send()
        .await
        .unwrap();
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    let path = header(&begun, "location").to_owned();
    assert_eq!(header(&begun, "range"), "0-0");
    let chunk = async |range: &str, body: &[u8]| {
        let request = talk
            .request(Method::PATCH, &path)
            .header("content-range", range);
        request.body(body.to_vec()).send().await.unwrap()
    };
    let first = chunk("0-999999", &bytes[..1_000_000]).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    assert_eq!(header(&first, "range"), "0-999999");
    let gap = chunk("2000000-2999999", &bytes[2_000_000..]).await;
    assert_eq!(gap.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&gap, "range"), "0-999999");
    // Its sender hears of it even while it is sending: the connection goes on.
    for _ in 0..50 {
        let gap = chunk("2000000-2999999", &bytes[2_000_000..]).await;
        assert_eq!(gap.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    }
    let lying = chunk("1000000-1000009", b"short").await;
    assert_eq!(lying.status(), StatusCode::BAD_REQUEST);
    let status = talk.get(&path).await;
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    assert_eq!(header(&status, "range"), "0-999999");
    // An upload is one repository's.
    let foreign = talk.get(&path.replace("/a/b/", "/a/c/")).await;
    assert_eq!(foreign.status(), StatusCode::NOT_FOUND);
    let second = chunk("1000000-1999999", &bytes[1_000_000..2_000_000]).await;
    assert_eq!(second.status(), StatusCode::ACCEPTED);
    let end = talk.request(Method::PUT, &format!("{path}?digest={digest}"));
    let end = end.body(bytes[2_000_000..].to_vec()).send().await.unwrap();
    assert_eq!(end.status(), StatusCode::CREATED);
    assert_eq!(header(&end, "location"), format!("/v2/a/b/blobs/{digest}"));
    assert_eq!(
        talk.get(&path).await.status(),
        StatusCode::NOT_FOUND,
        "it has ended"
    );
    let store = &talk.ours.shelf.store;
    assert_eq!(store.read_blob(&digest).unwrap().unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_come_to_nothing() {
    let talk = Talk::start().await;
    let right = BlobDigest::of(b"right");
    let begin = async || {
        let begun = talk
            .request(Method::POST, "/v2/a/blobs/uploads/")
            .send()
            .await
            .unwrap();
        header(&begun, "location").to_owned()
    };
    let path = begin().await;
    let wrong = talk
        .request(Method::PUT, &format!("{path}?digest={right}"))
        .body("wrong");
    let wrong = wrong.send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(code(wrong).await, "DIGEST_INVALID");
    let path = begin().await;
    let undecided = talk
        .request(Method::PUT, &path)
        .body("right")
        .send()
        .await
        .unwrap();
    assert_eq!(undecided.status(), StatusCode::BAD_REQUEST);
    let cancelled = talk.request(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
    assert_eq!(talk.get(&path).await.status(), StatusCode::NOT_FOUND);
    let at_once = format!("/v2/a/blobs/uploads/?digest={right}");
    let at_once = talk
        .request(Method::POST, &at_once)
        .body("wrong")
        .send()
        .await
        .unwrap();
    assert_eq!(at_once.status(), StatusCode::BAD_REQUEST);
    assert_eq!(talk.ours.shelf.store.blob_size(&right).unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_mounted_if_the_store_has_it() {
    let talk = Talk::start().await;
    let digest = talk.blob("a", b"shared").await;
    let mount = async |digest| {
        let path = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
        talk.request(Method::POST, &path).send().await.unwrap()
    };
    let mounted = mount(digest).await;
    assert_eq!(mounted.status(), StatusCode::CREATED);
    assert_eq!(
        header(&mounted, "location"),
        format!("/v2/b/blobs/{digest}")
    );
    let unknown = mount(BlobDigest::of(b"other")).await;
    assert_eq!(unknown.status(), StatusCode::ACCEPTED);
    assert!(header(&unknown, "location").starts_with("/v2/b/blobs/uploads/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_checked() {
    let talk = Talk::start().await;
    let image = Image::sample(2);
    let put = async |reference: &str, kind: &str, bytes: &[u8]| {
        let put = talk.manifest("a", reference, kind, bytes).await;
        (put.status().as_u16(), code(put).await)
    };
    let kind = media_type::MANIFEST;
    let unknown = (404, "MANIFEST_BLOB_UNKNOWN".to_owned());
    assert_eq!(put("v1", kind, &image.manifest).await, unknown);
    talk.image("b", "v1", &image).await;
    let invalid = (400, "MANIFEST_INVALID".to_owned());
    assert_eq!(put("v1", kind, b"no JSON").await, invalid);
    assert_eq!(put("v1", kind, b"{}").await, invalid);
    assert_eq!(
        put("v1", media_type::DOCKER_MANIFEST, &image.manifest).await,
        invalid
    );
    let other = BlobDigest::of(b"other").to_string();
    assert_eq!(
        put(&other, kind, &image.manifest).await,
        (400, "DIGEST_INVALID".to_owned())
    );
    let mut manifest: Manifest = serde_json::from_slice(&image.manifest).unwrap();
    manifest.layers[0].size += 1;
    assert_eq!(
        put("v1", kind, &manifest.to_bytes()).await,
        (400, "SIZE_INVALID".to_owned())
    );
    let huge = vec![b' '; ServerOptions::default().largest_manifest + 1];
    let huge = talk.manifest("a", "v1", kind, &huge).await;
    assert_eq!(huge.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // A layer that may not be distributed need not be here.
    manifest.layers[0] = Descriptor::new(media_type::LAYER_GZIP, BlobDigest::of(b"elsewhere"), 9);
    manifest.layers[0].extra.insert(
        "urls".to_owned(),
        json!(["https://files.example.com/layer"]),
    );
    let elsewhere = talk.manifest("a", "v1", kind, &manifest.to_bytes()).await;
    assert_eq!(elsewhere.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_brings_its_manifests_into_the_repository() {
    let talk = Talk::start().await;
    let image = Image::sample(3);
    talk.image("a", "v1", &image).await;
    let child = Descriptor::new(
        &image.media_type,
        image.digest(),
        image.manifest.len() as u64,
    );
    let index = Index::new(vec![child]).to_bytes();
    let put = talk.manifest("b", "all", media_type::INDEX, &index).await;
    assert_eq!(put.status(), StatusCode::CREATED);
    let child = talk
        .get(&format!("/v2/b/manifests/{}", image.digest()))
        .await;
    assert_eq!(child.status(), StatusCode::OK);
    assert_eq!(header(&child, "content-type"), media_type::MANIFEST);
    let missing = Descriptor::new(media_type::MANIFEST, BlobDigest::of(b"gone"), 4);
    let index = Index::new(vec![missing]).to_bytes();
    let put = talk.manifest("b", "all", media_type::INDEX, &index).await;
    assert_eq!(put.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages() {
    let talk = Talk::start().await;
    let image = Image::sample(4);
    for tag in ["v1", "v10", "latest", "v2"] {
        talk.image("x/y", tag, &image).await;
    }
    talk.image("a", "v1", &image).await;
    let page = async |path: &str| {
        let page = talk.get(path).await;
        let link = page
            .headers()
            .get("link")
            .map(|link| link.to_str().unwrap().to_owned());
        (
            serde_json::from_slice::<Value>(&page.bytes().await.unwrap()).unwrap(),
            link,
        )
    };
    let (all, link) = page("/v2/x/y/tags/list").await;
    assert_eq!(
        all,
        json!({"name": "x/y", "tags": ["latest", "v1", "v10", "v2"]})
    );
    assert_eq!(link, None);
    let (first, link) = page("/v2/x/y/tags/list?n=3").await;
    assert_eq!(first["tags"], json!(["latest", "v1", "v10"]));
    assert_eq!(
        link.as_deref(),
        Some("</v2/x/y/tags/list?n=3&last=v10>; rel=\"next\"")
    );
    let (second, link) = page("/v2/x/y/tags/list?n=3&last=v10").await;
    assert_eq!((&second["tags"], link), (&json!(["v2"]), None));
    let (none, link) = page("/v2/x/y/tags/list?n=0").await;
    assert_eq!((&none["tags"], link), (&json!([]), None));
    let (catalog, link) = page("/v2/_catalog?n=1").await;
    assert_eq!(catalog, json!({"repositories": ["a"]}));
    assert_eq!(
        link.as_deref(),
        Some("</v2/_catalog?n=1&last=a>; rel=\"next\"")
    );
    let (rest, _) = page("/v2/_catalog?n=9&last=a").await;
    assert_eq!(rest, json!({"repositories": ["x/y"]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_found_by_their_subject() {
    let talk = Talk::start().await;
    let image = Image::sample(5);
    talk.image("a", "v1", &image).await;
    let empty = talk.blob("a", b"{}").await;
    let subject = Descriptor::new(
        &image.media_type,
        image.digest(),
        image.manifest.len() as u64,
    );
    let artifact = |kind: &str| {
        let config = Descriptor::new("application/vnd.oci.empty.v1+json", empty, 2);
        let mut manifest = Manifest::new(config, Vec::new());
        manifest
            .extra
            .insert("artifactType".to_owned(), json!(kind));
        manifest.extra.insert(
            "subject".to_owned(),
            serde_json::to_value(&subject).unwrap(),
        );
        manifest
            .annotations
            .insert("note".to_owned(), kind.to_owned());
        manifest.to_bytes()
    };
    let (one, two) = (artifact("application/one"), artifact("application/two"));
    for bytes in [&one, &two] {
        let digest = BlobDigest::of(bytes).to_string();
        let put = talk
            .manifest("a", &digest, media_type::MANIFEST, bytes)
            .await;
        assert_eq!(put.status(), StatusCode::CREATED);
        assert_eq!(header(&put, "oci-subject"), image.digest().to_string());
    }
    let list = async |query: &str| {
        let list = talk
            .get(&format!("/v2/a/referrers/{}{query}", image.digest()))
            .await;
        assert_eq!(header(&list, "content-type"), media_type::INDEX);
        let filtered = list.headers().contains_key("oci-filters-applied");
        let index: Index = serde_json::from_slice(&list.bytes().await.unwrap()).unwrap();
        (index.manifests, filtered)
    };
    let (all, filtered) = list("").await;
    assert_eq!((all.len(), filtered), (2, false));
    let (some, filtered) = list("?artifactType=application%2Fone").await;
    assert!(filtered);
    assert_eq!(some.len(), 1);
    assert_eq!(some[0].digest, BlobDigest::of(&one));
    assert_eq!(some[0].extra["artifactType"], "application/one");
    assert_eq!(some[0].annotations["note"], "application/one");
    let gone = format!("/v2/a/manifests/{}", BlobDigest::of(&one));
    talk.request(Method::DELETE, &gone).send().await.unwrap();
    assert_eq!(list("").await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_limited_and_leave_nothing() {
    let ours = Ours::with(ServerOptions {
        most_uploads: 2,
        ..ServerOptions::default()
    })
    .await;
    let talk = Talk { ours, http: http() };
    let begin = async || {
        talk.request(Method::POST, "/v2/a/blobs/uploads/")
            .send()
            .await
            .unwrap()
    };
    let first = begin().await;
    assert_eq!(begin().await.status(), StatusCode::ACCEPTED);
    assert_eq!(begin().await.status(), StatusCode::TOO_MANY_REQUESTS);
    let path = header(&first, "location").to_owned();
    let chunk = talk.request(Method::PATCH, &path).body("half of a blob");
    assert_eq!(chunk.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let shelf = talk.ours.end().await;
    drop(shelf.store);
    let left = std::fs::read_dir(shelf.folder.path().join("store/blobs/sha256")).unwrap();
    assert_eq!(left.count(), 0, "no blob");
}
