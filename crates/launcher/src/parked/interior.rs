//! The process that becomes a sandbox's agent: PID 1 of its namespaces, root of its own users only.

use super::{filesystem, network, Explain, Job, Outcome, LONGEST_MESSAGE};
use crate::channel;
use crate::kernel::raw;
use crate::seccomp;
use rustix::net::{bind, listen, socket_with, sockopt, AddressFamily, SocketFlags, SocketType};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    remove_capability_from_bounding_set, set_capabilities, CapabilitySet, CapabilitySets,
};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use wardian_wire::boot::{AGENT_PORT, BOOT_FD, LISTENER_FD};

/// Above every descriptor number that means something to the agent.
const OUT_OF_THE_WAY: i32 = 10;
const BACKLOG: i32 = 4096;

/// The usual capabilities of a container, over its own namespaces only: root inside can install
/// packages and change owners, but can't mount, configure the network or trace other users.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Prepares, waits for a job and becomes the agent. Never returns.
pub(super) fn run(socket: &OwnedFd, helper: OwnedFd) -> ! {
    let mut buffer = vec![0; LONGEST_MESSAGE];
    // The helper's end of this closes when it dies: then so does this process.
    let woken = channel::receive(&helper, &mut buffer, &mut Vec::new());
    if woken != Ok(2) {
        std::process::exit(1);
    }
    let listener = match prepare() {
        Ok(listener) => {
            let _ = channel::send(&helper, b"ready", &[]);
            listener
        }
        Err(what) => {
            let _ = channel::send(&helper, what.as_bytes(), &[]);
            std::process::exit(1);
        }
    };
    drop(helper);
    let mut fds = Vec::new();
    let got = match channel::receive(socket, &mut buffer, &mut fds) {
        Ok(got) if got > 0 => got,
        // The launcher is gone, or needs this process no longer.
        _ => std::process::exit(0),
    };
    let Ok([root, agent, boot, errors]) = <[OwnedFd; 4]>::try_from(fds) else {
        std::process::exit(1);
    };
    let job = serde_json::from_slice(&buffer[..got]).explain("read job");
    let what = job.and_then(|job| become_agent(&job, root, agent, boot, listener));
    if let Err(what) = what {
        let _ = rustix::io::write(&errors, what.as_bytes());
    }
    std::process::exit(1);
}

/// All that does not depend on the job.
fn prepare() -> Outcome<OwnedFd> {
    rustix::thread::set_thread_groups(&[]).explain("drop groups")?;
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).explain("become group 0 of the sandbox")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).explain("become user 0 of the sandbox")?;
    raw::set_undumpable().explain("become undumpable")?;
    raw::new_session_keyring().explain("leave the keyring")?;
    network::set_up_sandbox_end()?;
    filesystem::dress()?;
    listen_for_agent()
}

fn listen_for_agent() -> Outcome<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
        .explain("make the agent's socket")?;
    sockopt::set_socket_reuseaddr(&socket, true).explain("reuse address")?;
    let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, AGENT_PORT);
    bind(&socket, &address).explain("bind the agent's socket")?;
    listen(&socket, BACKLOG).explain("listen")?;
    Ok(socket)
}

fn become_agent(
    job: &Job,
    root: OwnedFd,
    agent: OwnedFd,
    boot: OwnedFd,
    listener: OwnedFd,
) -> Outcome<()> {
    filesystem::enter(&root, job.shared_memory_bytes)?;
    // Not before: until it has a job the launcher finds this process by the helper's group.
    rustix::process::setsid().explain("setsid")?;
    rustix::system::sethostname(job.hostname.as_bytes()).explain("sethostname")?;
    let up = |fd| raw::move_above(fd, OUT_OF_THE_WAY).explain("move descriptor");
    let (agent, boot, listener) = (up(agent)?, up(boot)?, up(listener)?);
    raw::close_on_exec_from(3).explain("close descriptors")?;
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    let null = up(null.explain("open /dev/null")?)?;
    for (from, to) in [
        (null.as_fd(), 0),
        (null.as_fd(), 1),
        (null.as_fd(), 2),
        (listener.as_fd(), LISTENER_FD),
        (boot.as_fd(), BOOT_FD),
    ] {
        raw::place_descriptor(from, to).explain(format_args!("place descriptor {to}"))?;
    }
    drop_privileges()?;
    let failed = raw::exec(&agent, c"wardian-agent");
    Err(format!("exec the agent: {failed}"))
}

/// From here on only what the workload may do is possible. The order matters: leaving the
/// bounding set needs `CAP_SETPCAP`, the filter needs `CAP_SYS_ADMIN`, and both go at the exec.
fn drop_privileges() -> Outcome<()> {
    let program = seccomp::program().explain("compile the filter")?;
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            // The kernel knows no capability of this number, nor any above.
            Err(rustix::io::Errno::INVAL) if number > 30 => break,
            result => result.explain(format_args!("drop capability {number}"))?,
        }
    }
    let all = rustix::thread::capabilities(None).explain("read capabilities")?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        inheritable: none,
        ..all
    };
    set_capabilities(None, sets).explain("clear inheritable capabilities")?;
    rustix::thread::clear_ambient_capability_set().explain("clear ambient capabilities")?;
    raw::install_seccomp(&program).explain("install the filter")
}
