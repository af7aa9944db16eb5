//! Where requests go: the logical names of origins, and what their addresses are here.

use std::fmt;

use http::HeaderMap;
use http::uri::Authority as Host;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::clients;
use crate::entry::{Entry, Request};

/// The origins of this machine: logical names, and base URLs that serve them, without a slash at their ends.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// First choices first.
    bases: Vec<(String, String)>,
    /// The longest first: one origin may lie below another.
    longest: Vec<(String, String)>,
}

/// Stands in a base URL for the digest of what is wanted: such an origin has bytes by what they are.
const BY_DIGEST: &str = "{sha256}";

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// A logical name, or scheme and host of one that has none.
    pub(crate) origin: String,
    /// What follows, without the slash between them; with the query.
    pub(crate) path: String,
}

impl Place {
    /// Whether its origin has no name but its address.
    fn has_host(&self) -> bool {
        self.origin.contains("://")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.path)
    }
}

/// Stands before a logical origin in a recorded `Location`: no URL begins so.
const FOLDED: char = '<';

impl Places {
    /// Origins with their base URLs. One origin may have several, first choices first; one with `{sha256}` in it has
    /// bytes by their digest.
    pub fn new(origins: impl IntoIterator<Item = (String, String)>) -> Self {
        let bases: Vec<_> = origins
            .into_iter()
            .map(|(name, base)| (name, base.trim_end_matches('/').to_owned()))
            .collect();
        let mut longest = bases.clone();
        longest.retain(|(_, base)| !base.contains(BY_DIGEST));
        longest.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.cmp(b)));
        Self { bases, longest }
    }

    /// Where the bytes of a recorded answer may be had: first what the step asked for, if that is known.
    pub(crate) fn urls(&self, entry: &Entry, asked: Option<&str>) -> Vec<String> {
        let Request { origin, path, .. } = &entry.request;
        // An origin that has no name is called by its address.
        let own = origin.contains("://").then(|| format!("{origin}/{path}"));
        // Where an archive's pages are says nothing of where its files are.
        let is_below = !(origin == "pypi" && path.starts_with(clients::PYTHON_FILES_AT));
        let bases = self.bases.iter();
        let bases =
            bases.filter(|(name, base)| name == origin && (is_below || base.contains(BY_DIGEST)));
        let others = bases.map(|(_, base)| {
            if base.contains(BY_DIGEST) {
                base.replace(BY_DIGEST, &entry.sha256.hex())
            } else {
                format!("{base}/{path}")
            }
        });
        let mut urls = Vec::new();
        for url in asked
            .map(str::to_owned)
            .into_iter()
            .chain(own)
            .chain(others)
        {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        urls
    }

    /// The place of a URL, without what is secret in it.
    pub(crate) fn of(&self, url: &str) -> Place {
        let url = without_secrets(url);
        if let Some((name, rest)) = self.known(&url) {
            return Place {
                origin: name.to_owned(),
                path: rest.to_owned(),
            };
        }
        let host = url.find("://").map_or(0, |at| at + 3);
        let end = url[host..]
            .find(['/', '?'])
            .map_or(url.len(), |at| host + at);
        Place {
            origin: url[..end].to_owned(),
            path: url[end..].trim_start_matches('/').to_owned(),
        }
    }

    /// The place of a URL that a client asks for with these headers.
    pub(crate) fn asked(&self, url: &str, headers: &HeaderMap) -> Place {
        let place = self.of(url);
        if !place.has_host() {
            return place;
        }
        clients::place(headers, &place.path).unwrap_or(place)
    }

    fn known<'a>(&'a self, url: &'a str) -> Option<(&'a str, &'a str)> {
        self.longest.iter().find_map(|(name, base)| {
            let rest = url.strip_prefix(base.as_str())?;
            match rest.strip_prefix('/') {
                Some(path) => Some((name.as_str(), path)),
                None => rest.is_empty().then_some((name.as_str(), "")),
            }
        })
    }

    /// A `Location` as it is recorded: without a mirror's name.
    pub(crate) fn fold(&self, location: &str) -> String {
        let location = without_secrets(location);
        match self.known(&location) {
            Some((name, path)) => format!("{FOLDED}{name}>/{path}"),
            None => location,
        }
    }

    /// The `Location` that was recorded as `folded`, with this machine's address of its origin.
    pub(crate) fn unfold(&self, folded: &str) -> String {
        let origin = folded
            .strip_prefix(FOLDED)
            .and_then(|rest| rest.split_once(">/"));
        let Some((name, path)) = origin else {
            return folded.to_owned();
        };
        let mut bases = self.bases.iter();
        match bases.find(|(known, base)| known == name && !base.contains(BY_DIGEST)) {
            Some((_, base)) => format!("{base}/{path}"),
            None => folded.to_owned(),
        }
    }
}

/// Fields of a query that say who asks rather than what for; lower case.
const SECRETS: [&str; 18] = [
    "access_token",
    "apikey",
    "api_key",
    "auth",
    "client_secret",
    "id_token",
    "job_token",
    "password",
    "private_token",
    "refresh_token",
    "secret",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-signature",
];

/// A URL without who asks: before its host, and in the values of secret fields of its query and of its fragment, of
/// URLs within these as well.
pub(crate) fn without_secrets(url: &str) -> String {
    /// URLs in URLs in URLs: what is deeper is left out.
    const DEEPEST: usize = 4;
    masked(url, DEEPEST)
}

fn masked(url: &str, depth: usize) -> String {
    let (whole, fragment) = match url.split_once('#') {
        Some((whole, fragment)) => (whole, Some(fragment)),
        None => (url, None),
    };
    let (start, query) = match whole.split_once('?') {
        Some((start, query)) => (start, Some(query)),
        None => (whole, None),
    };
    let mut text = without_user(start);
    for (mark, fields) in [('?', query), ('#', fragment)] {
        if let Some(fields) = fields {
            let fields: Vec<String> = fields.split('&').map(|one| field(one, depth)).collect();
            text.push(mark);
            text.push_str(&fields.join("&"));
        }
    }
    text
}

/// A field of a query without what is secret in it.
fn field(field: &str, depth: usize) -> String {
    let Some((name, value)) = field.split_once('=') else {
        return field.to_owned();
    };
    if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
        return name.to_owned();
    }
    let decoded = percent_decode_str(value).decode_utf8_lossy();
    if !decoded.contains("//") && !decoded.contains('?') {
        return field.to_owned();
    }
    let Some(depth) = depth.checked_sub(1) else {
        return name.to_owned();
    };
    let inner = masked(&decoded, depth);
    if inner == decoded {
        return field.to_owned();
    }
    format!("{name}={}", utf8_percent_encode(&inner, NON_ALPHANUMERIC))
}

/// The value of a `Link` header (RFC 8288, section 3) without what is secret in its URLs.
pub(crate) fn link_without_secrets(value: &str) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('<') {
        let Some((url, others)) = after.split_once('>') else {
            break;
        };
        text.extend([before, "<", &without_secrets(url), ">"]);
        rest = others;
    }
    text + rest
}

/// `https://host/path` of `https://user:password@host/path`.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else {
        return url.to_owned();
    };
    if !scheme.is_empty() && !scheme.ends_with(':') {
        return url.to_owned();
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}//{host}{path}"),
        None => url.to_owned(),
    }
}

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) scheme: &'static str,
    /// The name or address that the client connected to.
    pub(crate) name: String,
    pub(crate) port: u16,
}

impl Target {
    /// What a request asks for, as one URL. The name is the one that it gives itself, else the one connected to.
    pub(crate) fn url<B>(&self, request: &http::Request<B>) -> Result<String, String> {
        let host = request
            .headers()
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok());
        let named = match request.uri().authority() {
            Some(place) => Some(place.clone()),
            None => match host.filter(|host| !host.is_empty()) {
                Some(host) => {
                    let place = Host::try_from(host);
                    Some(place.map_err(|error| format!("the host {host:?} is none: {error}"))?)
                }
                None => None,
            },
        };
        let (name, port) = match &named {
            Some(place) => (place.host().to_ascii_lowercase(), place.port_u16()),
            None => (self.name.clone(), None),
        };
        let usual = if self.scheme == "https" { 443 } else { 80 };
        let port = port.unwrap_or(self.port);
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str());
        Ok(if port == usual {
            format!("{}://{name}{path}", self.scheme)
        } else {
            format!("{}://{name}:{port}{path}", self.scheme)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places {
        let of = |name: &str, base: &str| (name.to_owned(), base.to_owned());
        Places::new([
            of("debian", "http://mirror.test/debian"),
            of("security", "http://mirror.test/debian/security/"),
            of("debian", "http://other.test"),
        ])
    }

    #[test]
    fn urls_are_below_the_nearest_origin() {
        let place = |url: &str| places().of(url).to_string();
        assert_eq!(
            place("http://mirror.test/debian/pool/a.deb"),
            "debian/pool/a.deb"
        );
        assert_eq!(place("http://other.test/pool/a.deb"), "debian/pool/a.deb");
        assert_eq!(
            place("http://mirror.test/debian/security/x?y=1"),
            "security/x?y=1"
        );
        assert_eq!(place("http://mirror.test/debian"), "debian/");
        assert_eq!(
            place("http://mirror.test/debiana/x"),
            "http://mirror.test/debiana/x"
        );
        assert_eq!(place("https://example.com"), "https://example.com/");
        assert_eq!(place("https://example.com?x"), "https://example.com/?x");
    }

    #[test]
    fn hosts_may_be_addresses() {
        let target = Target {
            scheme: "http",
            name: "example.com".to_owned(),
            port: 80,
        };
        for (host, url) in [
            ("[2001:DB8::1]:8080", "http://[2001:db8::1]:8080/x?y"),
            ("[2001:db8::1]", "http://[2001:db8::1]/x?y"),
            ("192.0.2.1:80", "http://192.0.2.1/x?y"),
        ] {
            let request = http::Request::get("/x?y").header("host", host).body(());
            let found = target.url(&request.expect("a request")).expect("a URL");
            assert_eq!(found, url);
            let place = places().of(&found);
            assert_eq!(format!("{}/x?y", place.origin), url);
            assert_eq!(place.path, "x?y");
        }
    }

    #[test]
    fn secrets_within_secrets_are_left_out() {
        for (url, left) in [
            (
                "https://example.com/a?next=https://x.test/b?token=abc&c=1",
                "https://example.com/a?next=https%3A%2F%2Fx%2Etest%2Fb%3Ftoken&c=1",
            ),
            (
                "https://example.com/a?u=https%3A%2F%2Fme%3Apw%40x.test%2F%3Fa%3D1",
                "https://example.com/a?u=https%3A%2F%2Fx%2Etest%2F%3Fa%3D1",
            ),
            (
                "https://example.com/#access_token=abc&x=1",
                "https://example.com/#access_token&x=1",
            ),
            // What has no secret stays as it was written.
            (
                "https://example.com/a?u=https%3a%2f%2fx.test%2f",
                "https://example.com/a?u=https%3a%2f%2fx.test%2f",
            ),
            (
                "https://example.com/a?q=what?&r=a%26b",
                "https://example.com/a?q=what?&r=a%26b",
            ),
            ("/x?a=%ff%fe//", "/x?a=%ff%fe//"),
        ] {
            assert_eq!(without_secrets(url), left);
            assert_eq!(without_secrets(left), left, "again");
        }
        let deep = "https://example.com/?a=".repeat(2000);
        assert!(!without_secrets(&format!("{deep}?token=abc")).contains("abc"));
        let link = "<https://me:pw@example.com/2?token=abc&page=2>; rel=\"next\", </1?sig=x>; rel=prev, <odd";
        assert_eq!(
            link_without_secrets(link),
            "<https://example.com/2?token&page=2>; rel=\"next\", </1?sig>; rel=prev, <odd"
        );
    }

    #[test]
    fn redirections_name_no_mirror_and_no_secret() {
        let places = places();
        let folded = places.fold("http://mirror.test/debian/pool/a?Token=abc&x=1");
        assert_eq!(folded, "<debian>/pool/a?Token&x=1");
        assert_eq!(
            places.of(&places.unfold(&folded)),
            places.of("http://mirror.test/debian/pool/a?token=other&x=1"
                .replace("token", "Token")
                .as_str())
        );
        assert_eq!(places.fold("/relative?sig=1"), "/relative?sig");
        let folded = places.fold("http://me:secret@mirror.test/debian/pool/a@1");
        assert_eq!(folded, "<debian>/pool/a@1");
        assert_eq!(
            places.fold("//me@other.example.com?x=@"),
            "//other.example.com?x=@"
        );
        assert_eq!(places.fold("/a//b@c"), "/a//b@c");
        assert_eq!(
            places.unfold("https://example.com/"),
            "https://example.com/"
        );
    }
}
