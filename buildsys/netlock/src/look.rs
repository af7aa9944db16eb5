//! Whether origins have still what was recorded of them.

use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{HeaderMap, Method};
use tbuild_digest::{BlobDigest, Hasher};

use crate::entry::Entry;
use crate::place::{Places, without_secrets};
use crate::replay::header_map;
use crate::upstream::{Upstream, UpstreamError, chain};

/// How closely an answer is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By its size: good for what is never changed.
    Size,
    /// By its bytes.
    Bytes,
}

/// What origins have of a recorded answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It, at the first of its places.
    There,
    /// It, but at a later place alone.
    Elsewhere,
    /// Another answer to the same question.
    Changed,
    /// Nothing.
    Gone,
    /// Nobody knows who serves it, or it cannot be asked for again.
    Unknown,
}

impl Upstream {
    /// What the places of a recorded answer have of it. An error where that cannot be found out.
    pub async fn look(
        &self,
        places: &Places,
        entry: &Entry,
        how: How,
    ) -> Result<Found, UpstreamError> {
        let is_given = entry.asked.get(AUTHORIZATION.as_str());
        let is_plain = matches!(entry.request.method.as_str(), "GET" | "HEAD")
            && entry.request.body.is_none()
            && is_given.is_none_or(String::is_empty);
        let urls = places.urls(entry, None);
        if !is_plain || urls.is_empty() {
            return Ok(Found::Unknown);
        }
        let mut found = Found::Gone;
        let mut failure = None;
        for (number, url) in urls.iter().enumerate() {
            match self.look_at(url, entry, how).await {
                Ok(Found::There) if number > 0 => return Ok(Found::Elsewhere),
                Ok(Found::There) => return Ok(Found::There),
                Ok(Found::Changed) => found = Found::Changed,
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(found), Err)
    }

    async fn look_at(&self, url: &str, entry: &Entry, how: How) -> Result<Found, UpstreamError> {
        let is_head = how == How::Size || entry.request.method == "HEAD";
        let method = if is_head { Method::HEAD } else { Method::GET };
        let mut asked = header_map(&entry.asked);
        asked.remove(AUTHORIZATION);
        let answer = self.ask(method, url, asked, Bytes::new()).await?;
        if answer.status().is_server_error() {
            return Err(UpstreamError::Failed {
                url: without_secrets(url),
                why: format!("its host answers {}", answer.status()),
            });
        }
        if answer.status().as_u16() != entry.status {
            let is_there = answer.status().is_success() || answer.status().is_redirection();
            return Ok(if is_there {
                Found::Changed
            } else {
                Found::Gone
            });
        }
        // Of what was asked for by HEAD the size is not that of a body.
        let has_size = entry.request.method != "HEAD";
        if has_size && length(answer.headers()).is_some_and(|size| size != entry.size) {
            return Ok(Found::Changed);
        }
        if is_head {
            return Ok(Found::There);
        }
        let mut hasher = Hasher::new();
        let mut size = 0;
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| UpstreamError::Failed {
                url: without_secrets(url),
                why: chain(&error.without_url()),
            })?;
            size += part.len() as u64;
            if size > entry.size {
                return Ok(Found::Changed);
            }
            hasher.update(&part);
        }
        let is_same = BlobDigest(hasher.finish()) == entry.sha256;
        Ok(if is_same {
            Found::There
        } else {
            Found::Changed
        })
    }

    /// What an origin answers to a recorded question today, if it answers with success: `most` bytes of it at the most.
    pub async fn today(
        &self,
        places: &Places,
        entry: &Entry,
        most: u64,
    ) -> Result<Option<Vec<u8>>, UpstreamError> {
        let mut asked = header_map(&entry.asked);
        asked.remove(AUTHORIZATION);
        let urls = places.urls(entry, None);
        let Some(url) = urls.first() else {
            return Ok(None);
        };
        let answer = self.ask(Method::GET, url, asked, Bytes::new()).await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let mut parts = answer.bytes_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| UpstreamError::Failed {
                url: without_secrets(url),
                why: chain(&error.without_url()),
            })?;
            if (bytes.len() + part.len()) as u64 > most {
                return Err(UpstreamError::Large {
                    url: without_secrets(url),
                    limit: most,
                });
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes))
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
