//! Blobs out of the store, in pieces.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, Stream};
use http::{HeaderMap, StatusCode, header};
use tbuild_digest::{BlobDigest, Hasher, Sha256};
use tbuild_store::BlobReader;

use super::error::{ApiError, blocking};
use super::range::Wanted;
use super::routes::Server;

/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// The digest of what an answer carries or has taken.
pub(super) const CONTENT_DIGEST: &str = "docker-content-digest";

/// Reads a digest of a path or a query.
pub(super) fn digest(text: &str) -> Result<BlobDigest, ApiError> {
    text.parse()
        .map_err(|_| ApiError::digest_invalid(format!("{text:?} is no SHA-256 digest")))
}

/// An answer that is being put together.
pub(super) fn answer(
    status: StatusCode,
    headers: &[(&str, String)],
    body: Body,
) -> Result<Response, ApiError> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, value);
    }
    builder
        .body(body)
        .map_err(|error| ApiError::internal(&error))
}

impl Server {
    /// `end-2`: a blob or a part of it.
    pub(super) async fn blob(
        &self,
        text: &str,
        headers: &HeaderMap,
        head: bool,
    ) -> Result<Response, ApiError> {
        let digest = digest(text)?;
        let store = self.store.clone();
        let (size, reader) = blocking(move || {
            let size = store.blob_size(&digest)?;
            let reader = if head {
                None
            } else {
                store.open_blob(&digest)?
            };
            Ok((size, reader))
        })
        .await?;
        let Some(size) = size else {
            return Err(ApiError::blob_unknown(text));
        };
        let common = |length: u64| {
            vec![
                (CONTENT_DIGEST, digest.to_string()),
                ("content-type", "application/octet-stream".to_owned()),
                ("content-length", length.to_string()),
                ("accept-ranges", "bytes".to_owned()),
                ("etag", format!("\"{digest}\"")),
            ]
        };
        if head {
            return answer(StatusCode::OK, &common(size), Body::empty());
        }
        let Some(reader) = reader else {
            return Err(ApiError::blob_unknown(text));
        };
        let asked = headers
            .get(header::RANGE)
            .and_then(|range| range.to_str().ok());
        match Wanted::parse(asked, size) {
            Wanted::Whole => {
                let body = Body::from_stream(pieces(Piece::whole(reader, digest, size)));
                answer(StatusCode::OK, &common(size), body)
            }
            Wanted::Part { start, end } => {
                let length = end - start + 1;
                let mut headers = common(length);
                headers.push(("content-range", format!("bytes {start}-{end}/{size}")));
                let body = Body::from_stream(pieces(Piece::part(reader, start, length)));
                answer(StatusCode::PARTIAL_CONTENT, &headers, body)
            }
            Wanted::Unsatisfiable => {
                let message = format!("blob {digest} has {size} bytes");
                let mut headers = HeaderMap::new();
                if let Ok(range) = format!("bytes */{size}").parse() {
                    headers.insert(header::CONTENT_RANGE, range);
                }
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                Err(ApiError::new(status, "SIZE_INVALID", message).with(headers))
            }
        }
    }
}

/// A blob on its way out.
struct Piece {
    reader: Box<dyn BlobReader>,
    seek: Option<u64>,
    left: u64,
    /// Of a whole blob: what it must be, and what it is so far.
    check: Option<(BlobDigest, Hasher)>,
}

impl Piece {
    fn whole(reader: Box<dyn BlobReader>, digest: BlobDigest, size: u64) -> Self {
        Self {
            reader,
            seek: None,
            left: size,
            check: Some((digest, Hasher::new())),
        }
    }

    fn part(reader: Box<dyn BlobReader>, start: u64, length: u64) -> Self {
        Self {
            reader,
            seek: Some(start),
            left: length,
            check: None,
        }
    }

    /// The next bytes. The last piece of a whole blob comes only if all of it is right, so that nobody takes
    /// a corrupt blob for a good one: the connection breaks instead.
    fn next(&mut self) -> io::Result<Bytes> {
        if let Some(start) = self.seek.take() {
            self.reader.seek(SeekFrom::Start(start))?;
        }
        let length = usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE));
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        self.left -= length as u64;
        if let Some((digest, mut hasher)) = self.check.take() {
            hasher.update(&bytes);
            if self.left > 0 {
                self.check = Some((digest, hasher));
            } else {
                verify(&digest, hasher.finish())?;
            }
        }
        Ok(bytes.into())
    }
}

fn verify(digest: &BlobDigest, actual: Sha256) -> io::Result<()> {
    if digest.0 == actual {
        return Ok(());
    }
    tracing::error!(%digest, "a blob of the store is corrupt");
    let message = format!("blob {digest} is corrupt");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// The pieces of a blob, each read off the async threads; memory does not grow with the blob.
fn pieces(blob: Piece) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(blob, |mut blob| async move {
        if blob.left == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let bytes = blob.next()?;
            Ok(Some((bytes, blob)))
        });
        read.await.map_err(io::Error::other)?
    })
}
