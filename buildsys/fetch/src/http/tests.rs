use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tbuild_digest::BlobDigest;
use tbuild_store::Store;
use tbuild_store_local::LocalStore;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::*;

/// What a test server does with one request.
#[derive(Clone)]
enum Answer {
    /// All of it, or from the asked byte on.
    Whole(Vec<u8>),
    /// Announces all of it, sends so many bytes of what was asked for, and hangs up.
    Broken(Vec<u8>, usize),
    /// All of it whatever was asked.
    NoRange(Vec<u8>),
    Status(u16, &'static str),
}

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// Serves on loopback; the n-th request gets the n-th answer, later ones the last.
async fn serve(answers: Vec<Answer>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        url: format!("http://{}/file", listener.local_addr().unwrap()),
        requests: Arc::default(),
        open: Arc::default(),
        most: Arc::default(),
    };
    let (requests, open, most) = (
        server.requests.clone(),
        server.open.clone(),
        server.most.clone(),
    );
    tokio::spawn(async move {
        let mut count = 0;
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let answer = answers[count.min(answers.len() - 1)].clone();
            count += 1;
            let (requests, open, most) = (requests.clone(), open.clone(), most.clone());
            tokio::spawn(async move {
                most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let mut socket = BufReader::new(socket);
                let mut head = String::new();
                while socket.read_line(&mut head).await.unwrap() > 2 {}
                let range = head.lines().find_map(|line| {
                    line.to_lowercase()
                        .strip_prefix("range: bytes=")
                        .map(str::to_owned)
                });
                let start = range
                    .and_then(|range| range.trim_end_matches('-').parse().ok())
                    .unwrap_or(0_usize);
                requests.lock().unwrap().push(head);
                let full = |bytes: &[u8], start: usize| {
                    let status = if start > 0 {
                        "206 Partial Content"
                    } else {
                        "200 OK"
                    };
                    format!(
                        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                        bytes.len() - start
                    )
                };
                let (head, body) = match &answer {
                    Answer::Whole(bytes) => (full(bytes, start), bytes[start..].to_vec()),
                    Answer::NoRange(bytes) => (full(bytes, 0), bytes.clone()),
                    Answer::Broken(bytes, sent) => {
                        (full(bytes, start), bytes[start..start + sent].to_vec())
                    }
                    Answer::Status(status, headers) => (
                        format!(
                            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n{headers}\r\n"
                        ),
                        vec![],
                    ),
                };
                socket.write_all(head.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = socket.write_all(&body).await;
                let _ = socket.shutdown().await;
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    server
}

fn bytes() -> Vec<u8> {
    (0..200_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn client() -> Http {
    Http::new(&HttpOptions {
        backoff: Duration::from_millis(5),
        retries: 2,
        ..HttpOptions::default()
    })
    .unwrap()
}

fn store() -> (tempfile::TempDir, Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    (folder, Arc::new(store))
}

fn download(urls: &[&str], bytes: &[u8]) -> Download {
    Download {
        name: "file".into(),
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        sha256: Some(BlobDigest::of(bytes)),
        size: Some(bytes.len() as u64),
    }
}

#[tokio::test]
async fn a_file_is_fetched_once() {
    let (server, (_folder, store)) = (serve(vec![Answer::Whole(bytes())]).await, store());
    let last = AtomicU64::new(0);
    let progress = |_: &str, done, total| {
        assert_eq!(total, Some(800_000));
        last.store(done, Ordering::SeqCst);
    };
    let wanted = download(&[&server.url], &bytes());
    let done = client().download(&wanted, &store, &progress).await.unwrap();
    assert!(done.fetched);
    assert_eq!(last.load(Ordering::SeqCst), 800_000);
    assert_eq!(store.read_blob(&done.digest).unwrap().unwrap(), bytes());
    let again = client().download(&wanted, &store, &Quiet).await.unwrap();
    assert!(!again.fetched);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].to_lowercase().contains("user-agent: tbuild/"));
}

#[tokio::test]
async fn a_broken_connection_is_resumed() {
    let answers = vec![
        Answer::Broken(bytes(), 300_000),
        Answer::Broken(bytes(), 100_000),
        Answer::Whole(bytes()),
    ];
    let (server, (_folder, store)) = (serve(answers).await, store());
    client()
        .download(&download(&[&server.url], &bytes()), &store, &Quiet)
        .await
        .unwrap();
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert!(!requests[0].to_lowercase().contains("range:"));
    assert!(
        requests[2].to_lowercase().contains("range: bytes=400000-"),
        "{}",
        requests[2]
    );
}

#[tokio::test]
async fn a_server_without_ranges_starts_anew() {
    let answers = vec![Answer::Broken(bytes(), 300_000), Answer::NoRange(bytes())];
    let (server, (_folder, store)) = (serve(answers).await, store());
    let done = client()
        .download(&download(&[&server.url], &bytes()), &store, &Quiet)
        .await
        .unwrap();
    assert_eq!(done.size, 800_000);
}

#[tokio::test]
async fn busy_servers_are_asked_again_and_dead_ones_left() {
    let (_folder, store) = store();
    let busy = serve(vec![
        Answer::Status(503, "retry-after: 0\r\n"),
        Answer::Whole(b"x".to_vec()),
    ])
    .await;
    client()
        .download(&download(&[&busy.url], b"x"), &store, &Quiet)
        .await
        .unwrap();

    let gone = serve(vec![Answer::Status(404, "")]).await;
    let error = client()
        .download(&download(&[&gone.url], b"y"), &store, &Quiet)
        .await
        .unwrap_err();
    assert!(
        matches!(error, HttpError::Status { status: 404, .. }),
        "{error}"
    );
    assert_eq!(
        gone.requests.lock().unwrap().len(),
        1,
        "a plain no is not asked again"
    );

    let good = serve(vec![Answer::Whole(b"y".to_vec())]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}/", closed.local_addr().unwrap());
    drop(closed);
    client()
        .download(
            &download(&[&dead, &gone.url, &good.url], b"y"),
            &store,
            &Quiet,
        )
        .await
        .unwrap();
    let error = client()
        .document(std::slice::from_ref(&dead), 10)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HttpError::Unreachable { host, .. } if dead.contains(host)),
        "{error}"
    );
}

#[tokio::test]
async fn other_bytes_are_refused_and_another_mirror_asked() {
    let (_folder, store) = store();
    let wrong = serve(vec![Answer::Whole(b"abcd".to_vec())]).await;
    let error = client()
        .download(&download(&[&wrong.url], b"efgh"), &store, &Quiet)
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Digest { .. }), "{error}");
    let error = client()
        .download(&download(&[&wrong.url], b"efg"), &store, &Quiet)
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            HttpError::Size {
                expected: 3,
                actual: 4,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(store.blob_size(&BlobDigest::of(b"abcd")).unwrap(), None);
    let right = serve(vec![Answer::Whole(b"efgh".to_vec())]).await;
    client()
        .download(
            &download(&[&wrong.url, &right.url], b"efgh"),
            &store,
            &Quiet,
        )
        .await
        .unwrap();
}

#[tokio::test]
async fn documents_are_bounded() {
    let server = serve(vec![Answer::Whole(vec![0; 1000])]).await;
    assert_eq!(
        client()
            .document(std::slice::from_ref(&server.url), 1000)
            .await
            .unwrap()
            .len(),
        1000
    );
    assert!(matches!(
        client()
            .document(std::slice::from_ref(&server.url), 999)
            .await,
        Err(HttpError::TooLarge { .. })
    ));
    assert!(matches!(
        client().document(&["nonsense".into()], 9).await,
        Err(HttpError::Url { .. })
    ));
    assert!(matches!(
        client().document(&[], 9).await,
        Err(HttpError::Nowhere(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_at_a_time_but_not_all() {
    let (server, (_folder, store)) = (serve(vec![Answer::Whole(bytes())]).await, store());
    let http = Http::new(&HttpOptions {
        parallel: 3,
        ..HttpOptions::default()
    })
    .unwrap();
    let wanted: Vec<Download> = (0..12)
        .map(|_| Download {
            sha256: None,
            ..download(&[&server.url], &bytes())
        })
        .collect();
    let done = http.download_all(&wanted, &store, &Quiet).await.unwrap();
    assert_eq!(done.len(), 12);
    let most = server.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at a time");
}

#[test]
fn a_password_is_never_shown() {
    assert_eq!(
        redact("https://user:secret@example.com/x@y"),
        "https://example.com/x@y"
    );
    assert_eq!(redact("https://example.com/x@y"), "https://example.com/x@y");
}
