//! Bodies: read out of the store, or passed on while they are written into it.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use tbuild_store::BlobReader;
use tokio::sync::mpsc;

/// What the gateway sends.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// So much is read at a time.
const PIECE: usize = 256 << 10;

/// A short text.
pub(crate) fn text(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never| match never {})
        .boxed()
}

/// Nothing.
pub(crate) fn empty() -> Body {
    text(String::new())
}

fn streamed(parts: impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static) -> Body {
    StreamBody::new(parts.map_ok(Frame::data)).boxed()
}

/// `size` bytes of a blob, from `first` on.
pub(crate) fn of_blob(mut blob: Box<dyn BlobReader>, first: u64, size: u64) -> Body {
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = blob.seek(SeekFrom::Start(first)) {
            let _gone = sender.blocking_send(Err(error));
            return;
        }
        let mut left = size;
        while left > 0 {
            let count = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
            let mut piece = vec![0; count];
            let read = blob.read_exact(&mut piece).map(|()| Bytes::from(piece));
            let is_over = read.is_err();
            if sender.blocking_send(read).is_err() || is_over {
                return;
            }
            left -= count as u64;
        }
    });
    received(receiver)
}

/// What comes through a channel.
pub(crate) fn received(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Body {
    streamed(stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    }))
}
