//! Carries TCP connections from the switch to a port of the host's loopback.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Accepts on `listener` for ever and carries each connection to `port` of 127.0.0.1. To be called on a thread
/// of the host's network namespace; `listener` may be of another.
pub(crate) fn forward(listener: &TcpListener, port: u16) {
    let upstream = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    loop {
        match listener.accept() {
            Ok((client, _)) => {
                thread::spawn(move || {
                    if let Err(error) = carry(&client, upstream) {
                        tracing::debug!(%error, %upstream, "connection to the registry ended");
                    }
                });
            }
            // Out of file descriptors, mostly; connections that end bring them back.
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn carry(client: &TcpStream, upstream: SocketAddrV4) -> io::Result<()> {
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        let upward = scope.spawn(|| copy(client, &server));
        let downward = copy(&server, client);
        upward.join().unwrap_or(Ok(())).and(downward)
    })
}

/// Copies one direction, then says that nothing more comes.
fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let copied = io::copy(&mut from, &mut to);
    // The other side may have closed already.
    let _ = to.shutdown(Shutdown::Write);
    copied.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn carries_both_ways_and_the_end_of_each() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || forward(&listener, port));
        let mut client = TcpStream::connect(address).unwrap();
        let question = vec![b'q'; 1 << 20];
        let asked = question.clone();
        let answering = thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut seen = Vec::new();
            stream.read_to_end(&mut seen).unwrap();
            assert_eq!(seen, asked);
            stream.write_all(b"answer").unwrap();
        });
        client.write_all(&question).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        answering.join().unwrap();
    }
}
