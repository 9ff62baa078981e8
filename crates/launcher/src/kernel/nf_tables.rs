//! As much of nf_tables as an edge namespace needs, spoken over netlink.
//!
//! One table with one chain, before anything else that the kernel does with a packet:
//! ```text
//! table ip wardian {
//!   chain arrive {
//!     type filter hook prerouting priority -450; policy accept;
//!     ip frag-off & 0x3fff != 0 drop
//!     iif wire ip protocol tcp tproxy to :PORT accept
//!   }
//! }
//! ```
//! The numbers are those of linux/netfilter/nf_tables.h; the form of a batch that of
//! linux/netfilter/nfnetlink.h. Everything in it is in network byte order.

use super::netlink::{acknowledgement, Message, CREATE};
use super::raw::Result;
use rustix::io::Errno;
use rustix::net::{
    netlink, send, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
};
use std::os::fd::OwnedFd;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_AT_END: u16 = CREATE | 0x800;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;
const INET: u8 = 2;

const TABLE: &[u8] = b"wardian\0";
const CHAIN: &[u8] = b"arrive\0";
/// Before the kernel would put fragments together (-400): what they begin could not be told from
/// them, and the memory they wait in is nobody's.
const PRIORITY: i32 = -450;
const PREROUTING: u32 = 0;

const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const KEY_INCOMING_LINK: u32 = 4;
const NETWORK_HEADER: u32 = 1;
/// More fragments, or not at the beginning.
const FRAGMENT: [u8; 2] = [0x3f, 0xff];
const TCP: u8 = 6;

/// Sends every TCP connection that arrives by `link` of this thread's network namespace to the
/// transparent listener at `port` there; where none listens it goes on as without a rule. Drops
/// fragments. Done anew, the last one holds, without a moment in between.
///
/// # Errors
/// Those of the kernel: `EPROTONOSUPPORT`, `EOPNOTSUPP` or `ENOENT` where it lacks nf_tables or
/// its tproxy expression.
pub(crate) fn redirect(link: u32, port: u16) -> Result<()> {
    let family = AddressFamily::NETLINK;
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::RAW, flags, Some(netlink::NETFILTER))?;
    // Added so that the removal finds one, removed so that nothing of another time is left.
    let messages = [
        table(NEW_TABLE, CREATE),
        table(DELETE_TABLE, 0),
        table(NEW_TABLE, CREATE),
        chain(),
        rule(drop_fragments),
        rule(|list| take_connections(list, link, port)),
    ];
    transact(&socket, messages)
}

/// Has all of `messages` take effect at once, or none.
fn transact<const COUNT: usize>(socket: &OwnedFd, messages: [Message; COUNT]) -> Result<()> {
    // Which acknowledgements the frame itself gets depends on the kernel's version.
    let mut batch = edge_of_batch(BATCH_BEGIN).finish()?;
    for message in messages {
        batch.extend(message.finish()?);
    }
    batch.extend(edge_of_batch(BATCH_END).finish()?);
    send(socket, &batch, SendFlags::empty())?;
    // All is done when `send` returns; a missing answer must not be waited for.
    for _ in 0..COUNT {
        match acknowledgement(socket, RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => return Err(Errno::PROTO),
            result => result?,
        }
    }
    Ok(())
}

fn edge_of_batch(kind: u16) -> Message {
    let subsystem = SUBSYSTEM.to_be_bytes();
    Message::new(kind, 0, &[0, 0, subsystem[0], subsystem[1]]).unacknowledged()
}

fn message(kind: u16, flags: u16) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &[INET, 0, 0, 0])
}

fn table(kind: u16, flags: u16) -> Message {
    let mut message = message(kind, flags);
    message.attribute(1, TABLE);
    message
}

fn chain() -> Message {
    let mut message = message(NEW_CHAIN, CREATE);
    message.attribute(1, TABLE).attribute(3, CHAIN);
    message.nested(NESTED | 4, |hook| {
        hook.attribute(1, &PREROUTING.to_be_bytes());
        hook.attribute(2, &PRIORITY.to_be_bytes());
    });
    message.attribute(5, &ACCEPT.to_be_bytes());
    message.attribute(7, b"filter\0");
    message
}

fn rule(expressions: impl FnOnce(&mut Message)) -> Message {
    let mut message = message(NEW_RULE, NEW_AT_END);
    message.attribute(1, TABLE).attribute(2, CHAIN);
    message.nested(NESTED | 4, expressions);
    message
}

fn drop_fragments(list: &mut Message) {
    let nothing = [0; FRAGMENT.len()];
    load_header(list, 6, FRAGMENT.len());
    expression(list, b"bitwise\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes());
        data.attribute(2, &REGISTER.to_be_bytes());
        data.attribute(3, &length(FRAGMENT.len()));
        value(data, 4, &FRAGMENT);
        value(data, 5, &nothing);
    });
    compare(list, NOT_EQUAL, &nothing);
    decide(list, DROP);
}

fn take_connections(list: &mut Message, link: u32, port: u16) {
    expression(list, b"meta\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes());
        data.attribute(2, &KEY_INCOMING_LINK.to_be_bytes());
    });
    // A number of the kernel's own, not of the packet's.
    compare(list, EQUAL, &link.to_ne_bytes());
    load_header(list, 9, 1);
    compare(list, EQUAL, &[TCP]);
    expression(list, b"immediate\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes());
        value(data, 2, &port.to_be_bytes());
    });
    expression(list, b"tproxy\0", |data| {
        data.attribute(1, &u32::from(INET).to_be_bytes());
        data.attribute(3, &REGISTER.to_be_bytes());
    });
    decide(list, ACCEPT);
}

fn expression(list: &mut Message, name: &[u8], fill: impl FnOnce(&mut Message)) {
    list.nested(NESTED | 1, |element| {
        element.attribute(1, name).nested(NESTED | 2, fill);
    });
}

/// Loads bytes of the IPv4 header.
fn load_header(list: &mut Message, offset: u32, count: usize) {
    expression(list, b"payload\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes());
        data.attribute(2, &NETWORK_HEADER.to_be_bytes());
        data.attribute(3, &offset.to_be_bytes());
        data.attribute(4, &length(count));
    });
}

/// Goes on with the rule only where the comparison holds.
fn compare(list: &mut Message, how: u32, with: &[u8]) {
    expression(list, b"cmp\0", |data| {
        data.attribute(1, &REGISTER.to_be_bytes());
        data.attribute(2, &how.to_be_bytes());
        value(data, 3, with);
    });
}

fn decide(list: &mut Message, verdict: u32) {
    expression(list, b"immediate\0", |data| {
        data.attribute(1, &REGISTER_VERDICT.to_be_bytes());
        data.nested(NESTED | 2, |value| {
            value.nested(NESTED | 2, |code| {
                code.attribute(1, &verdict.to_be_bytes());
            });
        });
    });
}

/// Adds plain data under attribute `kind`.
fn value(data: &mut Message, kind: u16, bytes: &[u8]) {
    data.nested(NESTED | kind, |value| {
        value.attribute(1, bytes);
    });
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}
