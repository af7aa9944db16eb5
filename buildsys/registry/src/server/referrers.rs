//! What refers to a manifest. Source: the specification's "Listing Referrers".

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use tbuild_oci::{Descriptor, Index, media_type};

use super::blob::{answer, digest};
use super::error::{ApiError, blocking};
use super::manifest::Document;
use super::path::Query;
use super::records::Record;
use super::routes::Server;

/// The key of a descriptor's artifact type.
const ARTIFACT_TYPE: &str = "artifactType";

/// How a manifest is listed among referrers.
pub(super) fn descriptor(record: &Record, document: Document) -> Descriptor {
    let mut descriptor = Descriptor::new(&record.media_type, record.digest, record.size);
    let config = document.config.map(|config| config.media_type);
    if let Some(kind) = document.artifact_type.or(config) {
        let kind = Value::String(kind);
        descriptor.extra.insert(ARTIFACT_TYPE.to_owned(), kind);
    }
    descriptor.annotations = document.annotations;
    descriptor
}

impl Server {
    /// `end-12`: an index of what refers to a digest; empty where nothing does.
    pub(super) async fn referrers(
        &self,
        name: String,
        subject: &str,
        query: &Query,
    ) -> Result<Response, ApiError> {
        let subject = digest(subject)?;
        let records = self.records.clone();
        let found = blocking(move || Ok(records.referrers(&name, &subject)?));
        let mut found = found.await?;
        let mut headers = vec![("content-type", media_type::INDEX.to_owned())];
        if let Some(kind) = query.get(ARTIFACT_TYPE) {
            found.retain(|one| one.extra.get(ARTIFACT_TYPE).and_then(Value::as_str) == Some(kind));
            headers.push(("oci-filters-applied", ARTIFACT_TYPE.to_owned()));
        }
        let body = Index::new(found).to_bytes();
        answer(StatusCode::OK, &headers, Body::from(body))
    }
}
