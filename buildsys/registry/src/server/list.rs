//! Lists, page by page: tags and repositories. Source: the specification's "Listing Tags".

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::blob::answer;
use super::error::{ApiError, blocking};
use super::path::Query;
use super::routes::Server;

impl Server {
    /// `end-8`: the tags of a repository.
    pub(super) async fn tags(&self, name: String, query: &Query) -> Result<Response, ApiError> {
        let records = self.records.clone();
        let repository = name.clone();
        let tags = blocking(move || {
            let tags = records.tags(&repository)?;
            if tags.is_empty() && records.repositories()?.binary_search(&repository).is_err() {
                return Err(ApiError::name_unknown(&repository));
            }
            Ok(tags)
        })
        .await?;
        let page = Page::new(tags, query)?;
        let link = page.link(&format!("/v2/{name}/tags/list"));
        let body = json!({ "name": name, "tags": page.items });
        answer(StatusCode::OK, &link, Body::from(body.to_string()))
    }

    /// Docker's list of repositories.
    pub(super) async fn catalog(&self, query: &Query) -> Result<Response, ApiError> {
        let records = self.records.clone();
        let all = blocking(move || Ok(records.repositories()?)).await?;
        let page = Page::new(all, query)?;
        let link = page.link("/v2/_catalog");
        let body = json!({ "repositories": page.items });
        answer(StatusCode::OK, &link, Body::from(body.to_string()))
    }
}

/// A part of a sorted list.
struct Page {
    items: Vec<String>,
    size: usize,
    more: bool,
}

impl Page {
    /// At most `n` of what comes after `last`.
    fn new(mut items: Vec<String>, query: &Query) -> Result<Self, ApiError> {
        let size = match query.get("n") {
            None => usize::MAX,
            Some(text) => text.parse().map_err(|_| {
                let message = format!("{text:?} is no number of results");
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "PAGINATION_NUMBER_INVALID",
                    message,
                )
            })?,
        };
        if let Some(last) = query.get("last") {
            items.retain(|item| item.as_str() > last);
        }
        // A page of nothing leads nowhere.
        let more = items.len() > size && size > 0;
        items.truncate(size);
        Ok(Self { items, size, more })
    }

    /// Headers: the type, and where the next page is, if there is one (RFC 8288).
    fn link(&self, path: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        if let Some(last) = self.items.last().filter(|_| self.more) {
            // Tags hold nothing that a URL escapes; of repositories' names, slashes may stay in a query.
            let next = format!("<{path}?n={}&last={last}>; rel=\"next\"", self.size);
            headers.push(("link", next));
        }
        headers
    }
}
