//! A gateway between real clients and real servers on loopback: recorded, then replayed with the server gone.

mod bench;
mod hostile;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tbuild_netlock::{Entry, Mode};

use bench::{Bench, LOCAL, NAME, PLAIN, get};

/// An origin: answers by path, counts what it is asked.
struct Origin {
    port: u16,
    asked: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

fn reply(request: &str, body: &[u8], count: usize) -> Vec<u8> {
    let path = request.split(' ').nth(1).unwrap_or_default();
    let ok = |headers: &str, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nSet-Cookie: secret=1\r\nDate: {count}\r\n{headers}\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    match path {
        "/file" => ok("Content-Type: text/plain\r\nETag: \"1\"\r\n", &vec![b'x'; 300_000]),
        "/count" => ok("", count.to_string().as_bytes()),
        "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec(),
        "/moved" => b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 0\r\n\r\n".to_vec(),
        "/none" => b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone".to_vec(),
        "/varies" if request.contains("application/json") => ok("Vary: Accept\r\n", b"{}"),
        "/varies" => ok("Vary: Accept\r\n", b"<p>"),
        "/post" => ok("", &[b"got ", body].concat()),
        _ => ok("", b"other"),
    }
}

fn serve(mut stream: TcpStream, asked: &AtomicUsize, seen: &Mutex<Vec<String>>) {
    let mut buffer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |text| text.parse().expect("a number"));
        while buffer.len() < end + length {
            match stream.read(&mut piece) {
                Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                _ => return,
            }
        }
        let body: Vec<u8> = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        let count = asked.fetch_add(1, Ordering::SeqCst) + 1;
        seen.lock().expect("no thread panics").push(head.clone());
        let sent = reply(&head, &body, count);
        if stream.write_all(&sent).is_err() {
            return;
        }
    }
}

impl Origin {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::clone(&asked), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (asked, seen) = (Arc::clone(&shared.0), Arc::clone(&shared.1));
                let stream = stream.expect("a connection");
                std::thread::spawn(move || serve(stream, &asked, &seen));
            }
        });
        Self { port, asked, seen }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn posts_and_heads_are_answered(client: &reqwest::Client, site: &str) {
    let post = client.post(format!("{site}/post")).body("one");
    let posted = post.send().await.expect("answered");
    assert_eq!(posted.bytes().await.expect("read"), "got one");
    let head = client.head(format!("{site}/file")).send().await;
    let head = head.expect("answered");
    assert_eq!(head.headers()["content-length"], "300000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_replayed_without_a_connection() {
    let origin = Origin::start();
    let bench = Bench::new();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    let questions = [
        ("/file", PLAIN),
        ("/file", ("range", "bytes=10-19")),
        ("/chunked", PLAIN),
        ("/moved", PLAIN),
        ("/none", PLAIN),
        ("/count", PLAIN),
        ("/varies", ("accept", "application/json")),
        ("/varies", ("accept", "text/html")),
        ("/file?query=1", ("if-none-match", "\"1\"")),
    ];
    let mut first = Vec::new();
    for (path, header) in questions {
        first.push(get(&client, &format!("{site}{path}"), header).await);
    }
    assert_eq!(first[1], (206, "text/plain".to_owned(), vec![b'x'; 10]));
    assert_eq!(
        (&first[2].2[..], first[3].0, first[4].0),
        (&b"abcdefg"[..], 302, 404)
    );
    assert_eq!(
        (&first[6].2[..], &first[7].2[..]),
        (&b"{}"[..], &b"<p>"[..])
    );
    posts_and_heads_are_answered(&client, &site).await;
    // A repeated question is answered alike, whatever the origin would say now.
    assert_eq!(
        get(&client, &format!("{site}/count"), PLAIN).await,
        first[5]
    );
    let asked = origin.asked();
    let entries = journal.entries();
    assert!(journal.failures().is_empty(), "{:?}", journal.failures());
    let seen = origin.seen.lock().expect("no thread panics").join("");
    assert!(
        !seen.contains("range:") && !seen.contains("if-none-match:"),
        "{seen}"
    );
    drop(client);

    let other = TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("an address")
        .port();
    let recorded: Vec<Entry> = entries
        .iter()
        .map(|entry| {
            let mut entry = entry.clone();
            entry.request.origin = entry
                .request
                .origin
                .replace(&origin.port.to_string(), &other.to_string());
            entry
        })
        .collect();
    let (journal, client) = bench.gateway(Mode::Replay, other, recorded, LOCAL);
    let site = format!("http://{NAME}:{other}");
    for ((path, header), before) in questions.into_iter().zip(&first) {
        assert_eq!(
            get(&client, &format!("{site}{path}"), header).await,
            *before,
            "{path}"
        );
    }
    posts_and_heads_are_answered(&client, &site).await;
    let (status, _, body) = get(&client, &format!("{site}/fil"), PLAIN).await;
    let body = String::from_utf8(body).expect("text");
    assert_eq!(status, 502);
    assert!(
        body.contains("/fil is not recorded; the nearest is") && body.contains("/file"),
        "{body}"
    );
    let posted = client
        .post(format!("{site}/post"))
        .body("two")
        .send()
        .await
        .expect("answered");
    assert_eq!(posted.status().as_u16(), 502);
    assert_eq!(journal.misses().len(), 2);
    assert_eq!(origin.asked(), asked, "nothing is asked while replaying");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_taken_by_any_name_and_speaks_http_2() {
    let bench = Bench::new();
    let origin = Origin::start();
    let site = format!("http://{NAME}:{}", origin.port);
    let (journal, client) = bench.gateway(Mode::Record, origin.port, vec![], LOCAL);
    get(&client, &format!("{site}/file"), PLAIN).await;
    let entries = journal.entries().into_iter().map(|mut entry| {
        entry.request.origin = entry.request.origin.replace("http://", "https://");
        entry
    });
    drop(client);
    let port = TcpListener::bind("127.0.0.1:0")
        .expect("bound")
        .local_addr()
        .expect("an address")
        .port();
    let entries = entries
        .map(|mut entry| {
            entry.request.origin = entry
                .request
                .origin
                .replace(&origin.port.to_string(), &port.to_string());
            entry
        })
        .collect();
    let (_, client) = bench.gateway(Mode::Replay, port, entries, LOCAL);
    let url = format!("https://{NAME}:{port}/file");
    let response = client.get(&url).send().await.expect("trusted");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(response.bytes().await.expect("read").len(), 300_000);
}
