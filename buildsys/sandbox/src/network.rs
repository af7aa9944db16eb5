//! A network of an action's own, and the sockets in it that somebody outside serves.
//!
//! A socket belongs to the network namespace that it was made in, whoever holds it. So the helper makes them once it
//! is in the new namespace, before anything else runs there, and sends them up; what is done to serve them is done
//! from the parent's namespace.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketType, recvmsg, sendmsg,
};
use tbuild_exec::{MOST_PORTS, Port, Transport};

use crate::protocol::{Failure, Reach, Tried as _};

/// Makes what there is to be of a network in the namespace that this process has just entered, and sends its sockets
/// through `control`.
pub(crate) fn make(reach: &Reach, control: &UnixStream) -> Result<(), Failure> {
    let Reach::Loopback(ports) = reach else {
        return Ok(());
    };
    crate::fork::loopback_up().tried(|| "set the loopback link up".to_owned())?;
    if ports.is_empty() {
        return Ok(());
    }
    all_local().tried(|| "make every address the step's own".to_owned())?;
    let sockets = ports
        .iter()
        .map(|port| open(*port).tried(|| format!("listen on {port}")))
        .collect::<Result<Vec<_>, _>>()?;
    // What the file tells is of the network that it was opened in. A kernel without it is none the worse.
    let counters = std::fs::File::open("/proc/thread-self/net/snmp").ok();
    let mut sockets = sockets;
    sockets.extend(counters.map(OwnedFd::from));
    hand_over(control, &sockets).tried(|| "hand the step's sockets over".to_owned())
}

/// Has what goes to any address of IPv4 stay here, as if it was the loopback device's: a program that knows an address
/// and asks for no name is served, too, or is refused at once. A route of type "local" to everywhere (rtnetlink(7)).
fn all_local() -> io::Result<()> {
    const NEW_ROUTE: u16 = 24;
    const REQUEST_ACK_CREATE: u16 = 0x1 | 0x4 | 0x400;
    const IPV4: u8 = 2;
    const TABLE_LOCAL: u8 = 255;
    const STATIC: u8 = 4;
    const SCOPE_HOST: u8 = 254;
    const TYPE_LOCAL: u8 = 2;
    const OUT_LINK: u16 = 4;
    /// The first link of a network namespace is its loopback device.
    const LOOPBACK: u32 = 1;
    let mut message = Vec::with_capacity(36);
    message.extend(36_u32.to_ne_bytes());
    message.extend(NEW_ROUTE.to_ne_bytes());
    message.extend(REQUEST_ACK_CREATE.to_ne_bytes());
    // Sequence and sender.
    message.extend([0; 8]);
    // No bits of a destination, nor of a source, any type of service.
    message.extend([IPV4, 0, 0, 0]);
    message.extend([TABLE_LOCAL, STATIC, SCOPE_HOST, TYPE_LOCAL]);
    message.extend([0; 4]);
    message.extend(8_u16.to_ne_bytes());
    message.extend(OUT_LINK.to_ne_bytes());
    message.extend(LOOPBACK.to_ne_bytes());
    // NETLINK_ROUTE is protocol 0.
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    send_to_kernel(&socket, &message)
}

fn send_to_kernel(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    rustix::net::send(socket, message, SendFlags::empty())?;
    let mut answer = [0; 1024];
    let (_, count) = rustix::net::recv(socket, &mut answer, RecvFlags::empty())?;
    // After the header of the answer: zero, or an error's number with its sign turned.
    match answer[..count].get(16..20) {
        Some(&[a, b, c, d]) => match i32::from_ne_bytes([a, b, c, d]) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        },
        _ => Err(io::Error::other("the kernel's answer is short")),
    }
}

fn open(port: Port) -> io::Result<OwnedFd> {
    Ok(match port.transport {
        Transport::Udp => UdpSocket::bind(port.address)?.into(),
        Transport::Tcp => TcpListener::bind(port.address)?.into(),
    })
}

/// Sends descriptors, the counters last, beside an empty line, which says nothing to who looks for a report.
fn hand_over(control: &UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = sockets.iter().map(OwnedFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_PORTS + 1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other(format!(
            "an action has {MOST_PORTS} sockets at most"
        )));
    }
    sendmsg(
        control,
        &[IoSlice::new(b"\n")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Reads what the other side of `control` says into `buffer`: how many bytes, and the descriptors that came with them.
pub(crate) fn receive(
    control: &UnixStream,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_PORTS + 1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        control,
        &mut [IoSliceMut::new(buffer)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors = ancillary
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((received.bytes, descriptors))
}
