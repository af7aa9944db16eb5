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
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
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
    let sockets = ports
        .iter()
        .map(|port| open(*port).tried(|| format!("listen on {port}")))
        .collect::<Result<Vec<_>, _>>()?;
    send(control, &sockets).tried(|| "hand the step's sockets over".to_owned())
}

fn open(port: Port) -> io::Result<OwnedFd> {
    Ok(match port.transport {
        Transport::Udp => UdpSocket::bind(port.address)?.into(),
        Transport::Tcp => TcpListener::bind(port.address)?.into(),
    })
}

/// Sends descriptors beside an empty line, which says nothing to who looks for a report.
fn send(control: &UnixStream, sockets: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<_> = sockets.iter().map(OwnedFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_PORTS))];
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
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_PORTS))];
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
