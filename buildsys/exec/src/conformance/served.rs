//! A network that is served from outside.

use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::Bench;
use crate::{Executor, Network, Port, Serve, Transport};

/// What an executor must do that can have sockets served: `rootfs` has bash besides what [`super::all`] needs, for its
/// /dev/tcp and /dev/udp. An executor that cannot refuses [`Network::Served`] by name, and does not call this.
pub fn served(executor: &dyn Executor, rootfs: &Path, scratch: &Path) {
    let bench = Bench {
        executor,
        rootfs,
        scratch,
        count: AtomicUsize::new(0),
    };
    connections(&bench);
    refusals(&bench);
}

/// Says on each connection where it came to, and sends datagrams back.
#[derive(Debug)]
struct Echo(Vec<Port>);

impl Serve for Echo {
    fn ports(&self) -> Vec<Port> {
        self.0.clone()
    }

    fn serve(&self, sockets: Vec<OwnedFd>) -> std::io::Result<()> {
        assert_eq!(sockets.len(), self.0.len(), "a socket is missing");
        for (port, socket) in self.0.iter().zip(sockets) {
            match port.transport {
                Transport::Tcp => connections_of(socket.into()),
                Transport::Udp => datagrams_of(socket.into()),
            }
        }
        Ok(())
    }
}

/// Ends with the action, whose network takes the socket's other sides with it: nobody connects any more.
fn connections_of(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let place = stream.local_addr().unwrap();
            writeln!(stream, "{place}").unwrap();
        }
    });
}

fn datagrams_of(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _gone = socket.send_to(&buffer[..count], from);
        }
    });
}

fn port(transport: Transport, address: &str) -> Port {
    Port {
        transport,
        address: address.parse().unwrap(),
    }
}

/// Sockets are there before the program starts, at every address where that is what is asked for, and
/// under the ports that belong to root; whoever the program runs as reaches them.
fn connections(bench: &Bench<'_>) {
    let ports = vec![
        port(Transport::Udp, "127.0.0.53:53"),
        port(Transport::Tcp, "127.0.0.53:53"),
        port(Transport::Tcp, "0.0.0.0:80"),
        port(Transport::Tcp, "0.0.0.0:8443"),
    ];
    let line = "for at in 127.1.0.1/80 127.1.2.3/80 127.0.0.1/8443 127.0.0.53/53 \
                192.0.2.1/80; do cat < /dev/tcp/$at; done; \
                exec 3<>/dev/udp/127.0.0.53/53; printf asked >&3; head -c 5 <&3; echo; ls /sys/class/net";
    let mut action = bench.action(&["bash", "-c", line]);
    action.network = Network::Served(Arc::new(Echo(ports)));
    action.user.uid = 1234;
    action.user.gid = 1234;
    let ran = bench.run(&action);
    assert_eq!(
        ran.stdout,
        "127.1.0.1:80\n127.1.2.3:80\n127.0.0.1:8443\n127.0.0.53:53\n192.0.2.1:80\nasked\nlo\n",
        "{:?} {}",
        ran.exit,
        ran.stderr
    );
}

/// What is not served is not there, be it the machine's; and two actions have networks of their own.
fn refusals(bench: &Bench<'_>) {
    let of_machine = TcpListener::bind("127.0.0.1:0").unwrap();
    let machine = of_machine.local_addr().unwrap().port();
    let line = format!(
        "for at in 127.0.0.1/{machine} 127.0.0.1/81 192.0.2.1/81; do (: < /dev/tcp/$at) 2> /dev/null || echo none; done"
    );
    let mut action = bench.action(&["bash", "-c", &line]);
    action.network = Network::Served(Arc::new(Echo(vec![port(Transport::Tcp, "0.0.0.0:80")])));
    let ran = bench.run(&action);
    assert_eq!(
        ran.stdout, "none\nnone\nnone\n",
        "{:?} {}",
        ran.exit, ran.stderr
    );
}
