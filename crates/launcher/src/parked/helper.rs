//! The helper: root on the host, one thread, in the control groups of the sandbox to be.

use super::{filesystem, interior, network, Explain, Order, Outcome, Ready, LONGEST_MESSAGE};
use crate::channel;
use crate::kernel::raw::{self, Side};
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

/// How much sooner than its workload the agent is served.
const NICE: i32 = -5;
const FILES_SOFT: u64 = 65_536;
const FILES_HARD: u64 = 1_048_576;

/// Runs `wardian-launcher park`, whose standard input is the socket to the launcher.
pub(crate) fn run() -> std::process::ExitCode {
    let Ok(socket) = raw::inherited(0).and_then(|fd| raw::move_above(fd, 3)) else {
        return std::process::ExitCode::FAILURE;
    };
    // So that nothing below gets the number of a standard stream.
    let stdin = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR,
        rustix::fs::Mode::empty(),
    );
    let outcome = prepare(&socket);
    drop(stdin);
    if let Err(what) = outcome {
        let message = serde_json::to_vec(&Ready::Failed { what }).unwrap_or_default();
        // The launcher sees the end of the socket where it can't be told why.
        let _ = channel::send(&socket, &message, &[]);
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}

fn receive_order(socket: &OwnedFd) -> Outcome<Order> {
    let mut buffer = vec![0; LONGEST_MESSAGE];
    let got = channel::receive(socket, &mut buffer, &mut Vec::new()).explain("receive order")?;
    serde_json::from_slice(&buffer[..got]).explain("read order")
}

fn prepare(socket: &OwnedFd) -> Outcome<()> {
    let order = receive_order(socket)?;
    raw::set_undumpable().explain("become undumpable")?;
    for file in &order.join {
        std::fs::write(file, "0").explain(format_args!("join {}", file.display()))?;
    }
    set_limits()?;
    raw::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET).explain("unshare")?;
    filesystem::leave_host().explain("leave the host's files")?;
    let (here, there) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .explain("socketpair")?;
    match raw::fork_into(raw::SANDBOX_NAMESPACES).explain("clone3 into new namespaces")? {
        Side::Child => {
            drop(here);
            interior::run(socket, there)
        }
        Side::Parent { child } => {
            drop(there);
            tend(socket, &here, child, &order)
        }
    }
}

/// Soft things that a sandbox inherits, each as far as this machine permits.
fn set_limits() -> Outcome<()> {
    raw::limit_resource(libc::RLIMIT_NOFILE, FILES_SOFT, FILES_HARD).explain("limit open files")?;
    raw::limit_resource(libc::RLIMIT_CORE, 0, u64::MAX).explain("limit core files")?;
    rustix::process::setpriority_process(None, NICE).explain("set priority")?;
    // The OOM score stays as it is: what is lowered here, every process in the sandbox could take
    // for itself and have the host kill others in its place. The agent raises that of commands.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    Ok(())
}

/// Gives the new process its users and its wire, waits until it is ready and tells the launcher.
fn tend(socket: &OwnedFd, child_socket: &OwnedFd, child: u32, order: &Order) -> Outcome<()> {
    let process = format!("/proc/{child}");
    for map in ["uid_map", "gid_map"] {
        std::fs::write(
            format!("{process}/{map}"),
            format!("0 {} 65536\n", order.uid_base),
        )
        .explain(format_args!("write {map}"))?;
    }
    network::lay_edge_end(child)?;
    channel::send(child_socket, b"go", &[]).explain("wake the parked process")?;
    let mut buffer = vec![0; LONGEST_MESSAGE];
    let got = channel::receive(child_socket, &mut buffer, &mut Vec::new())
        .explain("hear from the parked process")?;
    if &buffer[..got] != b"ready" {
        let what = String::from_utf8_lossy(&buffer[..got]);
        return Err(format!("parked process: {what}"));
    }
    let edge = File::open("/proc/self/ns/net").explain("open the edge namespace")?;
    let users = File::open(format!("{process}/ns/user")).explain("open the user namespace")?;
    let ready = Ready::Parked { pid: child };
    let message = serde_json::to_vec(&ready).explain("write message")?;
    channel::send(socket, &message, &[edge.as_fd(), users.as_fd()]).explain("tell the launcher")?;
    Ok(())
}
