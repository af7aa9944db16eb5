//! Manifests by tag and digest. Source: the specification's "Pulling manifests", "Pushing Manifests",
//! "Deleting Manifests".

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tbuild_digest::BlobDigest;
use tbuild_oci::{Descriptor, media_type};
use tbuild_store::Store;

use super::blob::{CONTENT_DIGEST, answer, digest};
use super::error::{ApiError, blocking};
use super::path::is_tag;
use super::records::{Record, Records};
use super::referrers;
use super::routes::Server;

/// What the server reads of a manifest of any kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    pub media_type: Option<String>,
    pub artifact_type: Option<String>,
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    pub subject: Option<Descriptor>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// By what a manifest is named.
enum Selector {
    Tag(String),
    Digest(BlobDigest),
}

fn selector(reference: &str) -> Result<Selector, ApiError> {
    if reference.contains(':') {
        return digest(reference).map(Selector::Digest);
    }
    if is_tag(reference) {
        return Ok(Selector::Tag(reference.to_owned()));
    }
    let message = format!("{reference:?} is neither a tag nor a digest");
    Err(ApiError::manifest_invalid(message))
}

impl Server {
    /// `end-3`: a manifest.
    pub(super) async fn manifest(
        &self,
        name: String,
        reference: String,
        head: bool,
    ) -> Result<Response, ApiError> {
        let wanted = selector(&reference)?;
        let records = self.records.clone();
        let (record, bytes) = blocking(move || {
            let record = match wanted {
                Selector::Tag(tag) => records.tag(&name, &tag)?,
                Selector::Digest(digest) => records.manifest(&name, &digest)?,
            };
            let unknown = || ApiError::manifest_unknown(&name, &reference);
            let record = record.ok_or_else(unknown)?;
            let bytes = if head {
                let size = records.0.blob_size(&record.digest)?;
                size.map(|_| Vec::new())
            } else {
                records.0.read_blob(&record.digest)?
            };
            // The record outlives the blob where the store was cleaned in between.
            Ok((record, bytes.ok_or_else(unknown)?))
        })
        .await?;
        let headers = [
            (CONTENT_DIGEST, record.digest.to_string()),
            ("content-type", record.media_type.clone()),
            ("content-length", record.size.to_string()),
            ("etag", format!("\"{}\"", record.digest)),
        ];
        answer(StatusCode::OK, &headers, Body::from(bytes))
    }

    /// `end-7`: takes a manifest whose blobs are here.
    pub(super) async fn put_manifest(
        self: &Arc<Self>,
        name: String,
        reference: String,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let wanted = selector(&reference)?;
        let limit = self.options.largest_manifest;
        let Ok(bytes) = axum::body::to_bytes(body, limit).await else {
            let message = format!("the manifest is larger than {limit} bytes, or broke off");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(ApiError::new(status, "MANIFEST_INVALID", message));
        };
        let content_type = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(|value| value.split(';').next().unwrap_or(value).trim().to_owned());
        let records = self.records.clone();
        let repository = name.clone();
        let (digest, subject) =
            blocking(move || take(&records, &repository, &wanted, content_type, &bytes)).await?;
        let mut headers = vec![
            ("location", format!("/v2/{name}/manifests/{reference}")),
            (CONTENT_DIGEST, digest.to_string()),
        ];
        if let Some(subject) = subject {
            headers.push(("oci-subject", subject.to_string()));
        }
        answer(StatusCode::CREATED, &headers, Body::empty())
    }

    /// `end-9`: forgets a tag, or a manifest with its tags. Blobs stay.
    pub(super) async fn delete_manifest(
        &self,
        name: String,
        reference: String,
    ) -> Result<Response, ApiError> {
        let wanted = selector(&reference)?;
        let records = self.records.clone();
        blocking(move || {
            let there = match wanted {
                Selector::Tag(tag) => records.remove_tag(&name, &tag)?,
                Selector::Digest(digest) => records.remove_manifest(&name, &digest)?,
            };
            if there {
                Ok(())
            } else {
                Err(ApiError::manifest_unknown(&name, &reference))
            }
        })
        .await?;
        answer(StatusCode::ACCEPTED, &[], Body::empty())
    }
}

/// Checks a manifest and remembers it. Returns its digest and that of its subject.
fn take(
    records: &Records,
    name: &str,
    wanted: &Selector,
    content_type: Option<String>,
    bytes: &[u8],
) -> Result<(BlobDigest, Option<BlobDigest>), ApiError> {
    let actual = BlobDigest::of(bytes);
    if let Selector::Digest(wanted) = wanted
        && *wanted != actual
    {
        let message = format!("the manifest's digest is {actual}, not {wanted}");
        return Err(ApiError::digest_invalid(message));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| {
        ApiError::manifest_invalid(format!("the manifest is malformed: {error}"))
    })?;
    let media_type = match (content_type, &document.media_type) {
        (Some(header), Some(own)) if header != *own => {
            let message = format!("its media type is {own}, the request says {header}");
            return Err(ApiError::manifest_invalid(message));
        }
        (Some(header), _) => header,
        (None, Some(own)) => own.clone(),
        (None, None) => return Err(ApiError::manifest_invalid("the media type is missing")),
    };
    if document.config.is_none() && !media_type::is_index(&media_type) {
        let message = format!("a manifest of type {media_type} is not supported");
        return Err(ApiError::manifest_invalid(message));
    }
    for descriptor in document.config.iter().chain(&document.layers) {
        check_blob(&*records.0, descriptor)?;
    }
    for child in &document.manifests {
        check_blob(&*records.0, child)?;
        // A manifest that another repository brought is this one's too, once an index names it.
        let record = Record {
            digest: child.digest,
            media_type: child.media_type.clone(),
            size: child.size,
        };
        records.set_manifest(name, &record)?;
    }
    records.0.put_blob(bytes)?;
    let record = Record {
        digest: actual,
        media_type,
        size: bytes.len() as u64,
    };
    records.set_manifest(name, &record)?;
    let subject = document.subject.as_ref().map(|subject| subject.digest);
    if let Some(subject) = subject {
        let referrer = referrers::descriptor(&record, document);
        records.add_referrer(name, &subject, &referrer)?;
    }
    if let Selector::Tag(tag) = wanted {
        records.set_tag(name, tag, &record)?;
    }
    Ok((actual, subject))
}

fn check_blob(store: &dyn Store, descriptor: &Descriptor) -> Result<(), ApiError> {
    let elsewhere = descriptor.extra.get("urls");
    if elsewhere.is_some_and(|urls| urls.as_array().is_some_and(|urls| !urls.is_empty())) {
        // Layers that may not be distributed are fetched from where they say (image spec, "Descriptors").
        return Ok(());
    }
    match store.blob_size(&descriptor.digest)? {
        Some(size) if size == descriptor.size => Ok(()),
        Some(size) => {
            let message = format!(
                "blob {} has {size} bytes, the manifest says {}",
                descriptor.digest, descriptor.size
            );
            Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "SIZE_INVALID",
                message,
            ))
        }
        None => {
            let message = format!("blob {} is not here", descriptor.digest);
            Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "MANIFEST_BLOB_UNKNOWN",
                message,
            ))
        }
    }
}
