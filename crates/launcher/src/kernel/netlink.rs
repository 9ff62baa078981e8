//! As much of rtnetlink as a wire needs, on a socket of the network namespace this thread is in.

use super::raw::Result;
use rustix::io::Errno;
use rustix::net::{
    recv, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
const ERROR: u16 = 2;
const UP: u32 = 1;
const INET: u8 = 2;

/// Builds one message: headers of fixed form, then attributes.
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(REQUEST | ACKNOWLEDGE | flags).to_ne_bytes());
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.nested(kind, |inner| inner.0.extend_from_slice(value))
    }

    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        fill(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Asks for no acknowledgement.
    pub(super) fn unacknowledged(mut self) -> Self {
        let flags = u16::from_ne_bytes([self.0[6], self.0[7]]) & !ACKNOWLEDGE;
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// The whole, with its length.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let length = u32::try_from(self.0.len()).map_err(|_| Errno::TOOBIG)?;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        Ok(self.0)
    }
}

/// Reads one acknowledgement.
pub(super) fn acknowledgement(socket: &OwnedFd, flags: RecvFlags) -> Result<()> {
    let mut reply = [0; 4096];
    let (got, _) = recv(socket, &mut reply[..], flags)?;
    if got < 20 || u16::from_ne_bytes([reply[4], reply[5]]) != ERROR {
        return Err(Errno::PROTO);
    }
    match i32::from_ne_bytes([reply[16], reply[17], reply[18], reply[19]]) {
        0 => Ok(()),
        error => Err(Errno::from_raw_os_error(-error)),
    }
}

fn link_header(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&change.to_ne_bytes());
    header
}

/// The table a route is in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Table {
    Main = 254,
    Local = 255,
}

/// What happens to packets that take a route.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Unicast = 1,
    Local = 2,
}

/// A route to add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) table: Table,
    pub(crate) action: Action,
    /// With the length of its prefix.
    pub(crate) destination: (Ipv4Addr, u8),
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) link: Option<u32>,
    /// Among several routes to the same place the one with the smallest is taken.
    pub(crate) priority: u32,
}

/// A link to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VirtualWire<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u32,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_index: u32,
    /// The process whose network namespace the other end is born in.
    pub(crate) peer_pid: u32,
    pub(crate) mtu: u32,
}

/// A connection to the kernel's network configuration.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens it in the present network namespace; it stays there.
    pub(crate) fn open() -> Result<Self> {
        let family = AddressFamily::NETLINK;
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self(socket))
    }

    /// Makes a pair of connected Ethernet devices.
    pub(crate) fn add_wire(&self, wire: VirtualWire<'_>) -> Result<()> {
        const NAME: u16 = 3;
        const MTU: u16 = 4;
        const LINK_INFO: u16 = 18;
        const NAMESPACE_PID: u16 = 19;
        const TX_QUEUES: u16 = 31;
        const RX_QUEUES: u16 = 32;
        const INFO_KIND: u16 = 1;
        const INFO_DATA: u16 = 2;
        const PEER: u16 = 1;
        let describe = |message: &mut Message, name: &str| {
            message
                .attribute(NAME, format!("{name}\0").as_bytes())
                .attribute(MTU, &wire.mtu.to_ne_bytes())
                // One queue each way; the default is one per possible CPU, and all of them cost.
                .attribute(TX_QUEUES, &1_u32.to_ne_bytes())
                .attribute(RX_QUEUES, &1_u32.to_ne_bytes());
        };
        let header = link_header(wire.index, 0, 0);
        let mut message = Message::new(NEW_LINK, CREATE | EXCLUSIVE, &header);
        describe(&mut message, wire.name);
        message.nested(LINK_INFO, |info| {
            info.attribute(INFO_KIND, b"veth");
            info.nested(INFO_DATA, |data| {
                data.nested(PEER, |peer| {
                    peer.0
                        .extend_from_slice(&link_header(wire.peer_index, 0, 0));
                    describe(peer, wire.peer_name);
                    peer.attribute(NAMESPACE_PID, &wire.peer_pid.to_ne_bytes());
                });
            });
        });
        self.ask(message)
    }

    /// Switches a link on.
    pub(crate) fn up(&self, link: u32) -> Result<()> {
        self.ask(Message::new(NEW_LINK, 0, &link_header(link, UP, UP)))
    }

    /// Gives a link an address.
    pub(crate) fn add_address(&self, link: u32, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let mut header = [INET, prefix, 0, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&link.to_ne_bytes());
        let mut message = Message::new(NEW_ADDRESS, CREATE | EXCLUSIVE, &header);
        message.attribute(1, &address.octets());
        message.attribute(2, &address.octets());
        self.ask(message)
    }

    /// Adds a route.
    pub(crate) fn add_route(&self, route: Route) -> Result<()> {
        const STATIC: u8 = 4;
        const SCOPE_HOST: u8 = 254;
        const SCOPE_LINK: u8 = 253;
        let (destination, prefix) = route.destination;
        let scope = match (route.action, route.gateway) {
            (Action::Local, _) => SCOPE_HOST,
            (Action::Unicast, None) => SCOPE_LINK,
            (Action::Unicast, Some(_)) => 0,
        };
        let (table, action) = (route.table as u8, route.action as u8);
        let header = [INET, prefix, 0, 0, table, STATIC, scope, action, 0, 0, 0, 0];
        let mut message = Message::new(NEW_ROUTE, CREATE | EXCLUSIVE, &header);
        if prefix > 0 {
            message.attribute(1, &destination.octets());
        }
        if let Some(link) = route.link {
            message.attribute(4, &link.to_ne_bytes());
        }
        if let Some(gateway) = route.gateway {
            message.attribute(5, &gateway.octets());
        }
        message.attribute(6, &route.priority.to_ne_bytes());
        self.ask(message)
    }

    /// Sends a message and reads the acknowledgement.
    fn ask(&self, message: Message) -> Result<()> {
        send(&self.0, &message.finish()?, SendFlags::empty())?;
        acknowledgement(&self.0, RecvFlags::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_but_say_their_own_length() {
        let mut message = Message::new(NEW_LINK, 0, &[]);
        message.attribute(3, b"ab\0");
        assert_eq!(&message.0[16..], [7, 0, 3, 0, b'a', b'b', 0, 0]);
        message.nested(18, |inner| {
            inner.attribute(1, b"veth");
        });
        assert_eq!(message.0[24..28], [12, 0, 18, 0]);
    }
}
