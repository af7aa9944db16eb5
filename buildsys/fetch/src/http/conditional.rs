//! Downloads of what may change at any time: asked for each time, fetched only when it did (RFC 9110, 13).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::StatusCode;
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use serde::{Deserialize, Serialize};
use tbuild_store::Store;

use super::download::Sink;
use super::error::redact;
use super::{Downloaded, Http, HttpError, Progress};

/// What a server said of a file's version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.to_owned());
        Self {
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
        }
    }

    fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// The headers that ask for another version than this one.
    fn conditions(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let fields = [
            (IF_NONE_MATCH, &self.etag),
            (IF_MODIFIED_SINCE, &self.last_modified),
        ];
        for (name, value) in fields {
            if let Some(value) = value.as_ref().and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// What came of asking for a file that may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fresh {
    /// It is the version that was known.
    Same,
    /// It is in the store, with what its server says of its version.
    New(Downloaded, Validators),
}

impl Http {
    /// Brings the file at `url` into the store unless it still is the version `known`. `name` is its name in
    /// progress reports.
    pub async fn refresh(
        &self,
        name: &str,
        url: &str,
        known: Option<&Validators>,
        store: &Arc<dyn Store>,
        progress: &dyn Progress,
    ) -> Result<Fresh, HttpError> {
        let Ok(_slot) = self.slots.acquire().await else {
            return Err(HttpError::Interrupted { url: redact(url) });
        };
        let known = known.filter(|known| !known.is_empty());
        self.retrying(async || self.ask(name, url, known, store, progress).await)
            .await
    }

    async fn ask(
        &self,
        name: &str,
        url: &str,
        known: Option<&Validators>,
        store: &Arc<dyn Store>,
        progress: &dyn Progress,
    ) -> Result<Fresh, (HttpError, Option<Duration>)> {
        let conditions = known.map(Validators::conditions).unwrap_or_default();
        let conditional = !conditions.is_empty();
        let response = self.get(url, conditions).await?;
        if conditional && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fresh::Same);
        }
        let validators = Validators::of(response.headers());
        let total = response.content_length();
        let mut sink = Sink::open(url, store, None);
        progress.bytes(name, 0, total);
        let mut body = response.bytes_stream();
        while let Some(part) = body.next().await {
            let part = part.map_err(|error| (HttpError::from_reqwest(url, error), None))?;
            sink.write(part).await.map_err(|error| (error, None))?;
            progress.bytes(name, sink.written(), total);
        }
        let (digest, size) = sink.commit().await.map_err(|error| (error, None))?;
        let downloaded = Downloaded {
            digest,
            size,
            fetched: true,
        };
        Ok(Fresh::New(downloaded, validators))
    }
}
