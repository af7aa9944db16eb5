//! Origins that lead a step astray, and what no lock and no log may say of what it sent.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::place::Place;

/// What is inside of the machine that builds.
struct Inside(Child);

impl Inside {
    fn start(place: &Place) -> Self {
        let line = "ip address add 169.254.169.254/32 dev lo && \
                    echo nameserver 192.0.2.1 > \"$0/resolv.conf\" && \
                    mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec python3 \"$1\" \"$0\"";
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network/inside.py");
        let mut child = place
            .beside("sh")
            .args(["-c", line])
            .arg(place.path(""))
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()
            .expect("nsenter");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut said)
            .expect("read");
        assert_eq!(said, "ready\n");
        Self(child)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        self.0.wait().expect("ended");
    }
}

/// A redirection is followed by the step's program; the gateway goes nowhere that a step could not have gone to.
#[test]
fn redirections_lead_to_nothing_inside() {
    let mut place = Place::new();
    let _inside = Inside::start(&place);
    let hosts = fs::read_to_string(place.path("hosts")).expect("read");
    let hosts = format!("{hosts}127.0.0.1 inside.example.com\n");
    fs::write(place.path("hosts"), hosts).expect("written");
    place.dockerfile("COPY fetch /fetch\nRUN sh -e /fetch");
    let cases = [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("http://inside.example.com/", "127.0.0.1"),
        // A name that means something else once it has been looked at.
        ("http://rebind.example.com/", "127.0.0.1"),
    ];
    for (there, address) in cases {
        let script =
            format!("wget -qO /got 'http://origin.example.com/base/to?{there}?token=secret-of-it'");
        place.write("fetch", &script);
        let refused = place.build(&[]);
        assert_eq!(refused.code, 1, "{there}: {}", refused.said);
        let why = format!("is on this machine or on its own link ({address})");
        assert!(refused.said.contains(&why), "{there}: {}", refused.said);
        let asked = place.asked();
        assert_eq!(asked.len(), 1, "the redirection: {asked:?}");
    }
    let inside = fs::read_to_string(place.path("inside")).unwrap_or_default();
    assert_eq!(inside, "", "nothing inside was asked");
    assert!(!place.lock().contains("[[request]]"), "{}", place.lock());
}

/// A proxy may well be on this machine: it is the machine's own doing that requests go there.
#[test]
fn a_proxy_of_this_machine_is_asked() {
    let mut place = Place::new();
    let _inside = Inside::start(&place);
    let hosts = fs::read_to_string(place.path("hosts")).expect("read");
    fs::write(
        place.path("hosts"),
        format!("{hosts}127.0.0.1 proxy.test\n"),
    )
    .expect("written");
    place.dockerfile("RUN wget -qO - http://origin.example.com/base/file");
    for proxy in ["http://127.0.0.1:80", "http://proxy.test:80"] {
        place.env = vec![("http_proxy", proxy.to_owned())];
        let built = place.builds(&["--relock"]);
        assert!(
            built.said.contains("content of /base/file"),
            "{}",
            built.said
        );
        let inside = fs::read_to_string(place.path("inside")).expect("asked");
        assert_eq!(
            inside,
            "origin.example.com http://origin.example.com/base/file\n"
        );
        fs::remove_file(place.path("inside")).expect("removed");
    }
    place.dockerfile("RUN wget -qO - http://proxy.test/base/file");
    let refused = place.build(&[]);
    assert_eq!(refused.code, 1, "{}", refused.said);
    assert!(
        refused.said.contains("is on this machine"),
        "{}",
        refused.said
    );
    assert!(!place.path("inside").exists());
}

/// An origin that cannot say who it is.
#[test]
fn an_origin_with_the_certificate_of_another_is_named() {
    let mut place = Place::new();
    fs::write(place.path("hosts"), "192.0.2.1 other.example.com\n").expect("written");
    place.install("/usr/bin/curl");
    place.dockerfile("COPY root /\nRUN curl -sSf https://other.example.com/base/tls");
    let refused = place.build(&[]);
    assert_eq!(refused.code, 1, "{}", refused.said);
    for part in [
        "https://other.example.com/base/tls cannot be had",
        "certificate not valid for name \"other.example.com\"",
    ] {
        assert!(refused.said.contains(part), "{part}: {}", refused.said);
    }
    assert_eq!(place.asked(), Vec::<String>::new());
    assert!(!place.lock().contains("[[request]]"), "{}", place.lock());
}

/// All that is written in the files below a folder.
fn text_below(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            text_below(&path, text);
        } else {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).expect("read")));
        }
    }
}

/// Whatever a step sends to say who it is, in headers and in URLs, to origins that answer, refuse or are not there.
#[test]
fn secrets_are_written_nowhere() {
    let mut place = Place::new();
    place.install("/usr/bin/curl");
    let script = "site=https://origin.example.com/base\n\
                  get() { curl -s -o /dev/null -H \"$1\" \"$2\" || true; }\n\
                  get 'Authorization: Bearer secret-of-mine' $site/bearer\n\
                  get 'Cookie: session=secret-of-mine' $site/cookie\n\
                  get 'X-Api-Key: secret-of-mine' $site/key\n\
                  get 'Proxy-Authorization: Basic secret-of-mine' $site/proxy\n\
                  get 'PRIVATE-TOKEN: secret-of-mine' \"$site/query?token=secret-of-mine&private_token=secret-of-mine&x=1\"\n\
                  get 'X: 1' https://me:secret-of-mine@origin.example.com/base/user\n\
                  get 'X: 1' $site/login\n\
                  get 'X: 1' 'https://none.example.com/x?token=secret-of-mine'\n\
                  get 'X: 1' 'https://me:secret-of-mine@127.0.0.1/x?token=secret-of-mine'\n\
                  test -z \"$1\" || exit 1\n";
    place.write("fetch", script);
    place.dockerfile("COPY root /\nCOPY fetch /fetch\nRUN sh /fetch");
    let recorded = place.builds(&[]);
    let asked = place.asked().join("\n");
    for path in [
        "bearer",
        "cookie",
        "key",
        "proxy",
        "user",
        "query?token=secret-of-mine",
    ] {
        assert!(asked.contains(path), "{path}: {asked}");
    }
    let lock = place.lock();
    assert!(
        lock.contains("path = \"base/query?token&private_token&x=1\""),
        "{lock}"
    );
    // What could not be had is told of where the step fails.
    place.dockerfile("COPY root /\nCOPY fetch /fetch\nRUN sh /fetch fails");
    let failed = place.build(&[]);
    assert_eq!(failed.code, 1, "{}", failed.said);
    for part in [
        "https://none.example.com/x?token cannot be had",
        "https://127.0.0.1/x?token is on",
    ] {
        assert!(failed.said.contains(part), "{part}: {}", failed.said);
    }
    // And a miss of what is locked.
    place.dockerfile("COPY root /\nCOPY fetch /fetch\nRUN sh /fetch");
    place.write(
        "fetch",
        "curl -sf 'https://origin.example.com/base/other?token=secret-of-mine'",
    );
    let missed = place.build(&[]);
    assert_eq!(missed.code, 4, "{}", missed.said);
    assert!(
        missed.said.contains("base/other?token is not recorded"),
        "{}",
        missed.said
    );

    let mut written = [recorded.said, failed.said, missed.said].concat();
    text_below(&place.path("lockfiles"), &mut written);
    text_below(&place.path("store/actions"), &mut written);
    let found = written.lines().find(|line| line.contains("secret-of-"));
    assert_eq!(found, None);
}
