//! Serving.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tbuild_store::Store;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::routes::router;

/// How the server behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The largest manifest taken, in bytes. The specification asks for 4 MiB at least.
    pub largest_manifest: usize,
    /// How many uploads may be under way at a time.
    pub most_uploads: usize,
    /// An upload that nobody touches for this long is dropped, and a body that stalls for this long is cut.
    pub upload_idle: Duration,
    /// How long running requests may go on once the server is asked to end.
    pub drain: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            largest_manifest: 8 << 20,
            most_uploads: 256,
            upload_idle: Duration::from_mins(10),
            drain: Duration::from_secs(5),
        }
    }
}

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("the registry cannot accept connections")]
    Accept(#[source] std::io::Error),
}

/// Answers on `listener` from `store` until `shutdown` is ready; running requests then get
/// [`ServerOptions::drain`] to end. Uploads under way leave nothing behind.
///
/// Each request is logged as a `tracing` event of target `tbuild_registry::access`, level INFO, with `method`,
/// `path`, `status` and `micros` (time to the response's head).
pub async fn serve(
    store: Arc<dyn Store>,
    listener: TcpListener,
    options: ServerOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let drain = options.drain;
    let ending = Arc::new(Notify::new());
    let asked = Arc::clone(&ending);
    let server = axum::serve(listener, router(store, options)).with_graceful_shutdown(async move {
        shutdown.await;
        asked.notify_one();
    });
    let overdue = async {
        ending.notified().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        ended = server => ended.map_err(ServeError::Accept),
        () = overdue => Ok(()),
    }
}
