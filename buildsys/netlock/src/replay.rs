//! Recorded answers as they are sent again.

use std::collections::BTreeMap;

use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tbuild_store::BlobReader;

use crate::body::{self, Body};
use crate::entry::Entry;
use crate::headers::range;
use crate::place::Places;

/// The answer to a request of `method` with the headers `asked`; `blob` has the recorded body. A range is cut out of
/// what is whole.
pub(crate) fn response(
    entry: &Entry,
    blob: Box<dyn BlobReader>,
    places: &Places,
    (method, asked): (&Method, &HeaderMap),
) -> Result<Response<Body>, http::status::InvalidStatusCode> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::from_u16(entry.status)?;
    *response.headers_mut() = header_map(&entry.headers);
    let headers = response.headers_mut();
    if let Some(location) = entry.headers.get(LOCATION.as_str()) {
        headers.insert(LOCATION, value(&places.unfold(location)));
    }
    let is_whole = entry.status == StatusCode::OK.as_u16() && method == Method::GET;
    let cut = if is_whole {
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        range(asked, entry.size)
    } else {
        Ok(None)
    };
    let (first, size) = match cut {
        Ok(None) => (0, entry.size),
        Ok(Some((first, last))) => {
            let text = format!("bytes {first}-{last}/{}", entry.size);
            headers.insert(CONTENT_RANGE, value(&text));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            (first, last - first + 1)
        }
        Err(()) => {
            headers.insert(CONTENT_RANGE, value(&format!("bytes */{}", entry.size)));
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            return Ok(response);
        }
    };
    let has_body = !matches!(
        response.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    // What was recorded of HEAD has the length among its headers, and no body.
    if has_body && entry.request.method != Method::HEAD.as_str() {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    if method != Method::HEAD && has_body {
        *response.body_mut() = body::of_blob(blob, first, size);
    }
    Ok(response)
}

/// Headers as they are sent.
pub(crate) fn header_map(headers: &BTreeMap<String, String>) -> HeaderMap {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::try_from(name).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        })
        .collect()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
