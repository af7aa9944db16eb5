//! Bodies that an answer did not take.
//!
//! A client that is still sending when its connection is closed may find it broken before it reads the answer that
//! says why. So what is left of a body is read, within bounds, before a refusal goes out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures::{Stream, StreamExt as _};
use tokio::sync::oneshot;

/// Bytes; as much as clients send in one chunk. Who sends more is cut off.
const MOST: usize = 64 << 20;

/// For how long a client may hold its own answer back.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that goes back when it is dropped.
struct Returning {
    body: Option<BodyDataStream>,
    back: Option<oneshot::Sender<BodyDataStream>>,
}

/// Where a body turns up, with what is left of it, once its reader has dropped it.
pub(super) struct Rest(oneshot::Receiver<BodyDataStream>);

/// The same body, and what will be left of it.
pub(super) fn returning(body: Body) -> (Body, Rest) {
    let (back, rest) = oneshot::channel();
    let returning = Returning {
        body: Some(body.into_data_stream()),
        back: Some(back),
    };
    (Body::from_stream(returning), Rest(rest))
}

impl Rest {
    /// Reads what is left.
    pub(super) async fn drain(mut self) {
        let Ok(mut body) = self.0.try_recv() else {
            return;
        };
        let drained = async {
            let mut read = 0;
            while let Some(Ok(bytes)) = body.next().await {
                read += bytes.len();
                if read > MOST {
                    break;
                }
            }
        };
        // Whoever is slower than that is cut off.
        let _in_time = tokio::time::timeout(PATIENCE, drained).await;
    }
}

impl Stream for Returning {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.body {
            Some(body) => body.poll_next_unpin(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take()) {
            // Nobody waits for it once the request has been answered.
            let _unwanted = back.send(body);
        }
    }
}
