//! Blobs into the store: at once, in chunks, or by mounting. Source: the specification's "Pushing blobs".

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use tbuild_digest::BlobDigest;

use super::blob::{CONTENT_DIGEST, answer, digest};
use super::error::{ApiError, blocking};
use super::path::Query;
use super::range;
use super::routes::Server;
use super::session::Session;

impl Server {
    /// `end-4a`, `end-4b`, `end-11`: begins an upload, takes a whole blob, or mounts one.
    pub(super) async fn begin_upload(
        self: &Arc<Self>,
        name: String,
        query: &Query,
        body: Body,
    ) -> Result<Response, ApiError> {
        if let Some(wanted) = query.get("mount") {
            // The store has one copy of a blob, whichever repository it is mounted from.
            let wanted = digest(wanted)?;
            let store = self.store.clone();
            if blocking(move || Ok(store.blob_size(&wanted)?))
                .await?
                .is_some()
            {
                return created(&name, &wanted);
            }
        }
        let whole = query.get("digest").map(digest).transpose()?;
        let server = Arc::clone(self);
        let repository = name.clone();
        let begin = move || server.sessions.begin(&*server.store, &repository);
        let (id, session) = blocking(begin).await?;
        let Some(whole) = whole else {
            return progress(StatusCode::ACCEPTED, &name, &id, &session);
        };
        let taken = async {
            session.append(body, self.sessions.idle()).await?;
            session.commit(whole).await
        };
        let taken = taken.await;
        self.sessions.remove(&id);
        taken?;
        created(&name, &whole)
    }

    /// `end-13`: how much of an upload is here.
    pub(super) async fn upload_status(&self, name: &str, id: &str) -> Result<Response, ApiError> {
        let session = self.sessions.get(name, id)?;
        // Bytes of a connection that has just broken are still being written.
        let _turn = session.turn().await;
        progress(StatusCode::NO_CONTENT, name, id, &session)
    }

    /// `end-5`: one chunk.
    pub(super) async fn upload_chunk(
        &self,
        name: &str,
        id: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let session = self.sessions.get(name, id)?;
        let _turn = session.turn().await;
        in_order(name, id, headers, &session)?;
        session.append(body, self.sessions.idle()).await?;
        progress(StatusCode::ACCEPTED, name, id, &session)
    }

    /// `end-6`: the end of an upload, with the last chunk or without.
    pub(super) async fn finish_upload(
        &self,
        name: &str,
        id: &str,
        query: &Query,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let session = self.sessions.get(name, id)?;
        let Some(text) = query.get("digest") else {
            return Err(ApiError::digest_invalid("the digest is missing"));
        };
        let digest = digest(text)?;
        let _turn = session.turn().await;
        in_order(name, id, headers, &session)?;
        session.append(body, self.sessions.idle()).await?;
        let committed = session.commit(digest).await;
        self.sessions.remove(id);
        committed?;
        created(name, &digest)
    }

    /// Ends an upload without a blob.
    pub(super) fn cancel_upload(&self, name: &str, id: &str) -> Result<Response, ApiError> {
        self.sessions.get(name, id)?;
        self.sessions.remove(id);
        answer(StatusCode::NO_CONTENT, &[], Body::empty())
    }
}

/// Chunks come in order: one that begins elsewhere is refused with what is here.
fn in_order(name: &str, id: &str, headers: &HeaderMap, session: &Session) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_RANGE) else {
        return Ok(());
    };
    let offset = session.offset();
    let text = value.to_str().unwrap_or_default();
    let Some((start, end)) = range::chunk(text) else {
        let message = format!("{text:?} is no chunk's range");
        return Err(ApiError::upload_invalid(message));
    };
    if start != offset {
        let message = format!("the next byte is {offset}, the chunk begins at {start}");
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let here = progress(status, name, id, session)?.headers().clone();
        return Err(ApiError::new(status, "BLOB_UPLOAD_INVALID", message).with(here));
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length != end - start + 1) {
        let message = format!("a chunk of range {text} has another length");
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "SIZE_INVALID",
            message,
        ));
    }
    Ok(())
}

/// Where an upload goes on and how much of it is here. No byte and one byte read alike, `0-0`: the
/// specification has no other way to say it.
fn progress(
    status: StatusCode,
    name: &str,
    id: &str,
    session: &Session,
) -> Result<Response, ApiError> {
    let headers = [
        ("location", format!("/v2/{name}/blobs/uploads/{id}")),
        ("range", format!("0-{}", session.offset().saturating_sub(1))),
        ("docker-upload-uuid", id.to_owned()),
    ];
    answer(status, &headers, Body::empty())
}

/// The blob is here.
fn created(name: &str, digest: &BlobDigest) -> Result<Response, ApiError> {
    let headers = [
        ("location", format!("/v2/{name}/blobs/{digest}")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    answer(StatusCode::CREATED, &headers, Body::empty())
}
