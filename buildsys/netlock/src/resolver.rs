//! The resolver's sockets.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::names::{Names, answer};

/// Answers what comes as datagrams, for ever.
pub(crate) async fn datagrams(names: &Names, socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        // A client that is gone by now shows as an error of the next call.
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(reply) = answer(&buffer[..count], names) {
            let _gone = socket.send_to(&reply, from).await;
        }
    }
}

/// Answers what comes through connections, for ever.
pub(crate) async fn connections(names: &Arc<Names>, listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let names = Arc::clone(names);
        tokio::spawn(async move { connection(&names, stream).await });
    }
}

/// RFC 1035, section 4.2.2: two bytes of length before each message.
async fn connection(names: &Names, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let Some(reply) = answer(&query, names) else {
            return Ok(());
        };
        let mut bytes = (reply.len() as u16).to_be_bytes().to_vec();
        bytes.extend(reply);
        stream.write_all(&bytes).await?;
    }
}
