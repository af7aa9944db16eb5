//! An archive on its way to the engine: written off the async threads, a few pieces ahead.

use std::io::{self, Write};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;

/// Bytes sent at a time.
const PIECE: usize = 256 << 10;
/// Pieces written ahead.
const AHEAD: usize = 4;

/// Whatever makes an archive writes it here. Fails once nobody wants it any more.
struct PieceWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl PieceWriter {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// What became of making the archive. An error that only says that nobody reads is none.
pub(crate) type Made = tokio::task::JoinHandle<io::Result<()>>;

/// Runs `produce` and streams what it writes. Dropping the stream stops it. An archive that fails breaks the
/// stream, so that the engine never takes half of one for the whole.
pub(crate) fn stream(
    produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Made) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let made = tokio::task::spawn_blocking(move || {
        let mut writer = PieceWriter {
            sender,
            piece: Vec::with_capacity(PIECE),
        };
        match produce(&mut writer).and_then(|()| writer.send()) {
            Err(error) if writer.sender.is_closed() => {
                drop(error);
                Ok(())
            }
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                let _ = writer.sender.blocking_send(Err(copy));
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (stream, made)
}
