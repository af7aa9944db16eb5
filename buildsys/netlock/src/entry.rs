//! What is recorded of a request and of its answer.

use std::collections::BTreeMap;
use std::fmt;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, LINK, VARY};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tbuild_digest::BlobDigest;

use crate::place::link_without_secrets;

/// What a step asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Request {
    /// A logical name, or scheme and host (with the port where it is not the scheme's own) of one that has none.
    pub origin: String,
    /// What follows, without the slash between them; with the query, whose secret fields have no value.
    pub path: String,
    /// `GET`, ...
    pub method: String,
    /// The SHA-256 of what was sent with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BlobDigest>,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.path)
    }
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What was asked for.
    #[serde(flatten)]
    pub request: Request,
    /// Headers of the request that chose among several answers, in lower case; empty where there was none. Of
    /// `authorization` only that there was one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, String>,
    /// 200, ...
    pub status: u16,
    /// Headers of the answer, in lower case: those that programs act on and that are the same tomorrow.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Of the body, as it was sent: compressed, if it was.
    pub sha256: BlobDigest,
    /// The body's, in bytes.
    pub size: u64,
    /// Whether it is the origin's answer cut down to what was needed of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reduced: bool,
}

/// Headers of answers that are kept. Dates, cookies, and what caches say of themselves are other ones every time.
const KEPT: &[&str] = &[
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "docker-content-digest",
    "etag",
    "last-modified",
    "link",
    "location",
    "www-authenticate",
    "x-checksum-md5",
    "x-checksum-sha1",
    "x-pypi-last-serial",
];

/// Headers by which origins choose among answers (RFC 9110, section 12.5).
const CHOOSING: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "git-protocol",
];

impl Entry {
    /// An answer to a request with the headers `asked`.
    pub(crate) fn new(
        request: Request,
        asked: &HeaderMap,
        status: StatusCode,
        answered: &HeaderMap,
        (sha256, size): (BlobDigest, u64),
    ) -> Self {
        let varies = |name: &str| {
            let mut names = answered
                .get_all(VARY)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split(','));
            names.any(|one| one.trim().eq_ignore_ascii_case(name) || one.trim() == "*")
        };
        let is_encoded = answered.contains_key(CONTENT_ENCODING);
        let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let chosen = CHOOSING
            .iter()
            .filter(|name| match **name {
                // An answer that is not compressed is good for whoever asks.
                "accept-encoding" => is_encoded,
                // A program that was refused comes again and says who it is.
                "authorization" => is_refused,
                name => varies(name),
            })
            .map(|name| ((*name).to_owned(), chooses(asked, name)));
        let asked = chosen.collect();
        let mut headers = kept(answered);
        if let Some(link) = headers.get_mut(LINK.as_str()) {
            *link = link_without_secrets(link);
        }
        if request.method == Method::HEAD.as_str()
            && let Some(length) = text(answered, CONTENT_LENGTH.as_str())
        {
            headers.insert(CONTENT_LENGTH.to_string(), length);
        }
        Self {
            request,
            asked,
            status: status.as_u16(),
            headers,
            sha256,
            size,
            reduced: false,
        }
    }

    /// Whether this answers a request with these headers.
    pub(crate) fn answers(&self, asked: &HeaderMap) -> bool {
        self.asked
            .iter()
            .all(|(name, value)| chooses(asked, name) == *value)
    }
}

/// What of an answer's headers is kept.
pub(crate) fn kept(answered: &HeaderMap) -> BTreeMap<String, String> {
    KEPT.iter()
        .filter_map(|name| Some(((*name).to_owned(), text(answered, name)?)))
        .collect()
}

/// What a header of a request says to who chooses among answers.
fn chooses(asked: &HeaderMap, name: &str) -> String {
    if name == AUTHORIZATION.as_str() {
        let given = asked.contains_key(AUTHORIZATION);
        return if given { "given" } else { "" }.to_owned();
    }
    text(asked, name).unwrap_or_default()
}

/// All values of a header as one (RFC 9110, section 5.3).
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Whether an answer is worth keeping: what a server says of its own troubles is not what it says of the file.
pub(crate) fn is_lasting(status: StatusCode) -> bool {
    const TRANSIENT: [StatusCode; 3] = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    !status.is_server_error() && !TRANSIENT.contains(&status)
}
