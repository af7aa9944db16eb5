//! Which headers pass the gateway.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

/// About one connection alone (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Conditions and ranges: the whole answer is recorded, and the gateway cuts ranges out of it by itself.
const PARTIAL: [HeaderName; 6] = [
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
];

/// What of a step's request the origin gets to see.
pub(crate) fn forwarded(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    remove_hop_by_hop(&mut headers);
    for name in PARTIAL.iter().chain(&[HOST, CONTENT_LENGTH]) {
        headers.remove(name);
    }
    // What is sent is whole before it is passed on.
    headers.remove("expect");
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    headers
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named {
        headers.remove(name.as_str());
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The bytes from first to last, inclusive, that one `Range` asks for of `size` (RFC 9110, section 14.1.2). None
/// where the whole is the answer: no range, several, another unit, nonsense; an error where the range is not there.
pub(crate) fn range(headers: &HeaderMap, size: u64) -> Result<Option<(u64, u64)>, ()> {
    let Some(text) = headers.get(RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    // Whose copy has changed gets the whole: nothing recorded changes, but what the program holds is unknown.
    if headers.contains_key(IF_RANGE) {
        return Ok(None);
    }
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .filter(|ranges| !ranges.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Ok(None);
    };
    let found = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        (Ok(first), Err(_)) if last.is_empty() => (first, size.saturating_sub(1)),
        (Err(_), Ok(0)) if first.is_empty() => return Err(()),
        (Err(_), Ok(count)) if first.is_empty() => {
            (size.saturating_sub(count), size.saturating_sub(1))
        }
        _ => return Ok(None),
    };
    if found.0 >= size {
        Err(())
    } else {
        Ok(Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, size: u64) -> Result<Option<(u64, u64)>, ()> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, text.parse().expect("a value"));
        range(&headers, size)
    }

    #[test]
    fn ranges_are_cut_as_asked() {
        assert_eq!(of("bytes=0-0", 10), Ok(Some((0, 0))));
        assert_eq!(of("bytes=2-100", 10), Ok(Some((2, 9))));
        assert_eq!(of("bytes=9-", 10), Ok(Some((9, 9))));
        assert_eq!(of("bytes=-3", 10), Ok(Some((7, 9))));
        assert_eq!(of("bytes=-30", 10), Ok(Some((0, 9))));
        assert_eq!(of("bytes=10-", 10), Err(()));
        assert_eq!(of("bytes=-0", 10), Err(()));
        assert_eq!(of("bytes=0-", 0), Err(()));
        assert_eq!(of("bytes=5-2", 10), Ok(None));
        assert_eq!(of("bytes=1-2,4-5", 10), Ok(None));
        assert_eq!(of("lines=1-2", 10), Ok(None));
    }

    #[test]
    fn what_is_of_one_connection_does_not_pass() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-One"),
            ("x-one", "1"),
            ("te", "trailers"),
            ("host", "example.com"),
            ("if-none-match", "\"x\""),
            ("range", "bytes=0-1"),
            ("accept", "text/html"),
            ("authorization", "Bearer x"),
        ] {
            headers.insert(
                HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                value.parse().expect("a value"),
            );
        }
        let passed = forwarded(&headers);
        let mut names: Vec<&str> = passed.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization"]);
    }
}
