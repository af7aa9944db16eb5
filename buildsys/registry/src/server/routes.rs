//! From a request to its answer.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tbuild_store::Store;

use super::error::ApiError;
use super::path::{Endpoint, Query};
use super::records::Records;
use super::rest::returning;
use super::serve::ServerOptions;
use super::session::Sessions;

/// What every request works with.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) store: Arc<dyn Store>,
    pub(super) records: Records,
    pub(super) sessions: Sessions,
    pub(super) options: ServerOptions,
}

/// Says which protocol this is; old clients look for it.
const VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// The registry as a router, to be served by itself or beside other things.
pub fn router(store: Arc<dyn Store>, options: ServerOptions) -> Router {
    let server = Arc::new(Server {
        records: Records(Arc::clone(&store)),
        store,
        sessions: Sessions::new(options.most_uploads, options.upload_idle),
        options,
    });
    Router::new().fallback(handle).with_state(server)
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let waits_for_leave = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let (body, rest) = returning(body);
    let answered = dispatch(server, Request::from_parts(parts, body)).await;
    // Who asks for leave to send has not begun to: reading would be the leave.
    if answered.is_err() && !waits_for_leave {
        rest.drain().await;
    }
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    let version = HeaderValue::from_static("registry/2.0");
    response.headers_mut().insert(VERSION, version);
    tracing::info!(
        target: "tbuild_registry::access",
        %method,
        path,
        status = response.status().as_u16(),
        micros = started.elapsed().as_micros() as u64,
    );
    response
}

async fn dispatch(server: Arc<Server>, request: Request) -> Result<Response, ApiError> {
    let Some(endpoint) = Endpoint::parse(request.uri().path())? else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "UNSUPPORTED",
            format!("{} is no endpoint of a registry", request.uri().path()),
        ));
    };
    let method = request.method().clone();
    let query = Query::parse(request.uri().query());
    let (parts, body) = request.into_parts();
    let read = method == Method::GET || method == Method::HEAD;
    match endpoint {
        Endpoint::Base if read => Ok(json(Body::from("{}"))),
        Endpoint::Catalog if read => server.catalog(&query).await,
        Endpoint::Tags(name) if read => server.tags(name, &query).await,
        Endpoint::Referrers(name, digest) if read => server.referrers(name, &digest, &query).await,
        Endpoint::Blob(_, digest) if read => {
            server
                .blob(&digest, &parts.headers, method == Method::HEAD)
                .await
        }
        Endpoint::Blob(..) if method == Method::DELETE => Err(ApiError::unsupported(
            "blobs belong to the store and go by its garbage collection",
        )),
        Endpoint::Manifest(name, reference) if read => {
            server
                .manifest(name, reference, method == Method::HEAD)
                .await
        }
        Endpoint::Manifest(name, reference) if method == Method::PUT => {
            server
                .put_manifest(name, reference, &parts.headers, body)
                .await
        }
        Endpoint::Manifest(name, reference) if method == Method::DELETE => {
            server.delete_manifest(name, reference).await
        }
        Endpoint::Uploads(name) if method == Method::POST => {
            server.begin_upload(name, &query, body).await
        }
        Endpoint::Upload(name, id) if read => server.upload_status(&name, &id).await,
        Endpoint::Upload(name, id) if method == Method::PATCH => {
            server.upload_chunk(&name, &id, &parts.headers, body).await
        }
        Endpoint::Upload(name, id) if method == Method::PUT => {
            server
                .finish_upload(&name, &id, &query, &parts.headers, body)
                .await
        }
        Endpoint::Upload(name, id) if method == Method::DELETE => server.cancel_upload(&name, &id),
        _ => Err(ApiError::unsupported(format!(
            "{method} is not answered here"
        ))),
    }
}

/// A JSON answer.
pub(super) fn json(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
