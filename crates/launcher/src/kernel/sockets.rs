//! Sockets made in another network namespace.
//!
//! A socket belongs for good to the namespace it was made in, wherever its descriptor goes. So
//! they are handed out unconnected: connecting, which can take as long as whoever rules that
//! namespace likes, is not the launcher's business.

use super::{raw, KernelError, Result};
use rustix::io::Errno;
use rustix::net::{socket_with, AddressFamily, SocketFlags, SocketType};
use std::os::fd::{AsFd, OwnedFd};
use wardian_wire::launcher::Family;

/// Makes `count` TCP sockets in the network namespace that `namespace` (its file, or a process in
/// it) stands for; `object` names it in an error.
///
/// # Errors
/// Those of the calls.
pub(crate) fn make(
    namespace: impl AsFd + Sync,
    family: Family,
    count: u32,
    object: &str,
) -> Result<Vec<OwnedFd>> {
    let failed = |call, errno| KernelError::new(call, object, errno);
    let family = match family {
        Family::Ipv4 => AddressFamily::INET,
        Family::Ipv6 => AddressFamily::INET6,
    };
    within(&namespace, object, || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        (0..count)
            .map(|_| socket_with(family, SocketType::STREAM, flags, None))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| failed("socket in", e))
    })
}

/// Has `work` done by a thread in the network namespace that `namespace` stands for.
///
/// # Errors
/// Those of getting there, and of `work`.
pub(super) fn within<T: Send>(
    namespace: &(impl AsFd + Sync),
    object: &str,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let failed = |call, errno| KernelError::new(call, object, errno);
    let work = || {
        raw::enter_network(namespace).map_err(|e| failed("setns to", e))?;
        work()
    };
    // A thread of its own: it ends in that namespace, and no other request may start there.
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(64 * 1024);
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(|_| failed("start thread for", Errno::AGAIN))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(failed("work in", Errno::IO)))
    })
}
