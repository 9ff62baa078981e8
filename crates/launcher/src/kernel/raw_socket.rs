//! What sockets need and neither the standard library nor rustix wrap.
#![allow(unsafe_code)]

use super::raw::{check, Result};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// Everything that arrives, of whatever protocol (linux/if_ether.h).
const ALL_PROTOCOLS: u16 = 0x0003;
/// linux/if_packet.h, since Linux 4.20.
const IGNORE_OUTGOING: libc::c_int = 23;

fn set<T>(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> Result<()> {
    let size = libc::socklen_t::try_from(size_of::<T>()).map_err(|_| Errno::INVAL)?;
    let value = std::ptr::from_ref(value).cast();
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads at most `size` bytes of `value`, which lives through the call.
    let answer = unsafe { libc::setsockopt(socket, level, name, value, size) };
    check(answer.into())?;
    Ok(())
}

/// Lets a socket be dialled under addresses that nobody has (`IP_TRANSPARENT`, ip(7)).
pub(super) fn make_transparent(socket: impl AsFd) -> Result<()> {
    set(socket, libc::SOL_IP, libc::IP_TRANSPARENT, &1_i32)
}

/// Leaves out what this side sends (packet(7)).
pub(super) fn ignore_outgoing(socket: impl AsFd) -> Result<()> {
    set(socket, libc::SOL_PACKET, IGNORE_OUTGOING, &1_i32)
}

/// Lets only what `program` passes into the socket, as much of it as it says (socket(7)).
pub(super) fn attach_filter(socket: impl AsFd, program: &[libc::sock_filter]) -> Result<()> {
    // The kernel copies the instructions, which live through the call, and checks them.
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        filter: program.as_ptr().cast_mut(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Has a packet socket receive what arrives by `link`.
pub(super) fn receive_from(socket: impl AsFd, link: u32) -> Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(|_| Errno::INVAL)?,
        sll_protocol: ALL_PROTOCOLS.to_be(),
        sll_ifindex: i32::try_from(link).map_err(|_| Errno::INVAL)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let size = libc::socklen_t::try_from(size_of_val(&address)).map_err(|_| Errno::INVAL)?;
    let socket = socket.as_fd().as_raw_fd();
    let at = std::ptr::from_ref(&address).cast();
    // SAFETY: the address lives through the call and its size is given.
    let answer = unsafe { libc::bind(socket, at, size) };
    check(answer.into())?;
    Ok(())
}
