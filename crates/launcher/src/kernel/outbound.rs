//! The sockets through which everything leaves a sandbox, made in its edge namespace.
//!
//! Each set is complete in itself: the listener has a port of its own and the rule is turned to it
//! last. So a set can be made anew while somebody still holds another (as after the launcher's own
//! restart): from then on everything arrives at the new one.

use super::{nf_tables, raw, raw_socket, sockets, KernelError, Result};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{bind, getsockname, listen, socket_with, AddressFamily, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 53);
/// Bytes; the kernel takes them twice. Some dozens of packets: what does not fit is not told.
const PACKET_BUFFER: usize = 32 * 1024;
/// Of each packet.
const BYTES_SEEN: u32 = 128;
const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// Makes listener, resolver and packet socket for what arrives by `link` in the network namespace
/// whose file `namespace` is; `object` names it in an error.
///
/// # Errors
/// Those of the calls; what was made is undone, but the rule may stay, which leads nowhere then.
pub(crate) fn open(namespace: impl AsFd + Sync, link: u32, object: &str) -> Result<Vec<OwnedFd>> {
    sockets::within(&namespace, object, || make(link, object))
}

fn make(link: u32, object: &str) -> Result<Vec<OwnedFd>> {
    let failed = |call| move |errno| KernelError::new(call, object, errno);
    let (listener, port) = listener().map_err(failed("transparent listener in"))?;
    let resolver = resolver().map_err(failed("socket for names in"))?;
    let packets = packets(link).map_err(failed("packet socket in"))?;
    nf_tables::redirect(link, port).map_err(failed("nf_tables rule in"))?;
    Ok(vec![listener, resolver, packets])
}

/// A listener that takes connections to every address, and its port.
fn listener() -> raw::Result<(OwnedFd, u16)> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, FLAGS, None)?;
    raw_socket::make_transparent(&socket)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    listen(&socket, BACKLOG)?;
    let address = SocketAddrV4::try_from(getsockname(&socket)?)?;
    Ok((socket, address.port()))
}

/// The socket that questions for names arrive at. Of several the newest gets them.
fn resolver() -> raw::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, FLAGS, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &RESOLVER)?;
    Ok(socket)
}

/// A socket that sees the start of every frame that belongs to neither of the others.
fn packets(link: u32) -> raw::Result<OwnedFd> {
    // Of no protocol: it receives nothing before it has its filter and its link.
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, FLAGS, None)?;
    raw_socket::attach_filter(&socket, &others())?;
    raw_socket::ignore_outgoing(&socket)?;
    set_socket_recv_buffer_size(&socket, PACKET_BUFFER)?;
    raw_socket::receive_from(&socket, link)?;
    Ok(socket)
}

/// Passes what is neither ARP, TCP over IPv4 nor a question to the resolver. A fragment passes
/// whatever it says it is of: only whole packets reach the other sockets. A packet too short to be
/// read does not pass; the kernel discards it.
fn others() -> Vec<libc::sock_filter> {
    const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const LOAD_HALF_BEHIND: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
    const LOAD_LENGTH: u32 = libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const IF_ANY: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    const IP: u32 = 14;
    // The numbers of instructions.
    const PASS: u8 = 13;
    const LEAVE: u8 = 14;
    // What to do, with what, and where to go on if a comparison holds and if not; 0: at the next.
    let steps = [
        (LOAD_HALF, 12, 0, 0),
        (IF_EQUAL, 0x0806, LEAVE, 0),
        (IF_EQUAL, 0x0800, 0, PASS),
        (LOAD_HALF, IP + 6, 0, 0),
        (IF_ANY, 0x3fff, PASS, 0),
        (LOAD_BYTE, IP + 9, 0, 0),
        (IF_EQUAL, 6, LEAVE, 0),
        (IF_EQUAL, 17, 0, PASS),
        (LOAD_WORD, IP + 16, 0, 0),
        (IF_EQUAL, RESOLVER.ip().to_bits(), 0, PASS),
        (LOAD_LENGTH, IP, 0, 0),
        // Behind the IPv4 header: the port the datagram is for.
        (LOAD_HALF_BEHIND, IP + 2, 0, 0),
        (IF_EQUAL, 53, LEAVE, PASS),
        (RETURN, BYTES_SEEN, 0, 0),
        (RETURN, 0, 0, 0),
    ];
    let instruction = |(next, (code, k, jt, jf)): (u8, (u32, u32, u8, u8))| libc::sock_filter {
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: jt.saturating_sub(next),
        jf: jf.saturating_sub(next),
        k,
    };
    (1..).zip(steps).map(instruction).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{recv, send, socketpair, RecvFlags, SendFlags};

    /// What the kernel lets through of a frame, by a socket that takes any bytes.
    fn seen(frame: &[u8]) -> Option<usize> {
        let kind = SocketType::DGRAM;
        let (into, out) = socketpair(AddressFamily::UNIX, kind, FLAGS, None).unwrap();
        raw_socket::attach_filter(&out, &others()).unwrap();
        match send(&into, frame, SendFlags::empty()) {
            // How such a socket says that the other's filter took nothing of it.
            Err(rustix::io::Errno::PERM) => None,
            result => {
                result.unwrap();
                let mut buffer = [0; 2048];
                Some(recv(&out, &mut buffer[..], RecvFlags::empty()).ok()?.1)
            }
        }
    }

    fn frame(ethertype: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![2; 12];
        bytes.extend(ethertype.to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    /// An IPv4 packet with `words` of header, `fragment` field and ports 4000 and `port`.
    fn packet(words: u8, fragment: u16, protocol: u8, to: [u8; 4], port: u16) -> Vec<u8> {
        let mut bytes = vec![0; usize::from(words) * 4];
        bytes[0] = 0x40 | words;
        bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
        bytes[9] = protocol;
        bytes[16..20].copy_from_slice(&to);
        bytes.extend(4000_u16.to_be_bytes());
        bytes.extend(port.to_be_bytes());
        bytes.extend([7; 300]);
        frame(0x0800, &bytes)
    }

    #[test]
    fn only_what_reaches_another_socket_goes_unseen() {
        const EDGE: [u8; 4] = [10, 0, 0, 1];
        let unseen = [
            frame(0x0806, &[0; 28]),
            packet(5, 0, 6, [1, 1, 1, 1], 443),
            packet(5, 0x4000, 6, EDGE, 53),
            packet(15, 0, 6, [1, 1, 1, 1], 443),
            packet(5, 0x4000, 17, EDGE, 53),
            packet(7, 0, 17, EDGE, 53),
        ];
        for (number, frame) in unseen.iter().enumerate() {
            assert_eq!(seen(frame), None, "frame {number}");
        }
        let others = [
            packet(5, 0, 1, EDGE, 0),
            packet(5, 0, 17, EDGE, 54),
            packet(5, 0, 17, [8, 8, 8, 8], 53),
            packet(5, 0, 17, [1, 1, 1, 1], 443),
            // Port 53 only where options are mistaken for the ports.
            packet(6, 0, 17, EDGE, 443),
            packet(5, 0x2000, 6, EDGE, 443),
            packet(5, 0x0001, 6, EDGE, 443),
            packet(5, 0x1000, 17, EDGE, 53),
            packet(5, 0x2000, 17, EDGE, 53),
            packet(5, 0, 132, EDGE, 53),
            frame(0x86dd, &[6; 200]),
            frame(0x88cc, &[0; 200]),
        ];
        for (number, frame) in others.iter().enumerate() {
            assert_eq!(seen(frame), Some(128), "frame {number}");
        }
        // Less than 128 bytes come whole.
        assert_eq!(seen(&frame(0x86dd, &[6; 40])), Some(54));
    }
}
