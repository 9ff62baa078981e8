//! The spawner: a second process of the agent that does nothing but fork supervisors.
//!
//! The agent itself can't fork (it has threads and a large address space); exec'ing a fresh
//! program for each command costs half a millisecond more than forking this small, single-threaded
//! one. It is started with the first command, and again should somebody kill it.

use super::job::{Report, Stage};
use super::supervisor;
use crate::sys::{self, Forked};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    recvmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

/// The most descriptors one order carries: control, standard input, output and error, and two that
/// a command may have beside them.
const MAX_DESCRIPTORS: usize = 6;
/// How the program is told to be a spawner.
pub(crate) const ARGUMENT: &str = "spawner";

/// Starts a spawner and returns the socket to send orders on.
///
/// # Errors
/// What the kernel says: no memory, no more processes, no /proc.
pub(crate) fn start() -> std::io::Result<OwnedFd> {
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    // The handle is let go: PID 1 reaps whatever child of it ends, this one too.
    let _child = Command::new("/proc/self/exe")
        .arg0("wardian-agent")
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .spawn()?;
    Ok(ours)
}

/// Orders one supervisor, which gets `descriptors`, its control socket first.
///
/// # Errors
/// `EAGAIN` when the socket is full, `EPIPE` or `ECONNRESET` when the spawner is gone.
pub(crate) fn order(spawner: impl AsFd, descriptors: &[&OwnedFd]) -> Result<(), Errno> {
    let borrowed: Vec<_> = descriptors.iter().map(|d| d.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&borrowed));
    rustix::net::sendmsg(
        spawner,
        &[IoSlice::new(b"s")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// The whole life of a spawner, whose orders come on standard input. Ends with the agent.
pub(crate) fn run() -> ExitCode {
    let Ok(orders) = sys::inherited(0) else {
        return ExitCode::FAILURE;
    };
    // Supervisors are nobody's children once forked; they report on their own sockets.
    sys::spawner_signals();
    loop {
        let mut descriptors = match receive(&orders) {
            Ok(Some(descriptors)) => descriptors,
            Ok(None) => return ExitCode::SUCCESS,
            Err(Errno::INTR) => continue,
            Err(_) => return ExitCode::FAILURE,
        };
        if descriptors.len() < 2 {
            // The kernel drops what it can't hand over; closing the rest tells the agent.
            continue;
        }
        let control = descriptors.remove(0);
        match sys::fork() {
            Ok(Forked::Parent { .. }) => {}
            Ok(Forked::Child) => {
                // Else the agent would not see the end of a spawner whose supervisors live on.
                drop(orders);
                supervisor::run(control, descriptors)
            }
            Err(errno) => {
                let stage = Stage::Fork;
                let errno = errno.raw_os_error();
                // Fails only if the agent has already given up on this command.
                let _ = rustix::io::write(&control, &Report::Failed { stage, errno }.encode());
            }
        }
    }
}

/// The descriptors of the next order, or `None` once the agent is gone.
fn receive(orders: &OwnedFd) -> Result<Option<Vec<OwnedFd>>, Errno> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        orders,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::with_capacity(MAX_DESCRIPTORS);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    Ok(Some(descriptors))
}
