//! The launcher's side of parked processes.

use super::host::find_any;
use super::{overlay, wait_readable, KernelError, Result};
use crate::channel;
use crate::parked::{Job, Order, Parked, Ready, LONGEST_MESSAGE};
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{waitpgid, Pid, WaitOptions};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a helper may take, and how long the agent may take to be exec'ed. Both are a matter of
/// milliseconds; under a rush of creates on a busy machine of seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a helper and waits until what it made is ready.
pub(super) fn park(order: &Order) -> Result<Parked> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|e| failed("socketpair for", order, e))?;
    let mut helper = spawn(theirs).map_err(|e| failed("start helper for", order, errno(&e)))?;
    let answer = converse(&ours, order).and_then(|(pid, edge_network, users)| {
        let process =
            find_any(pid)?.ok_or_else(|| failed("find process of", order, Errno::SRCH))?;
        Ok((process, edge_network, users))
    });
    match answer {
        Ok((process, edge_network, users)) => {
            let ended = helper.wait();
            ended.map_err(|e| failed("wait for helper of", order, errno(&e)))?;
            Ok(Parked {
                slot: order.slot,
                uid_base: order.uid_base,
                process,
                socket: ours,
                edge_network,
                users,
            })
        }
        Err(error) => {
            // Whatever it has cloned ends when its socket does.
            drop(ours);
            clear_away(&mut helper)?;
            Err(error)
        }
    }
}

fn failed(call: &'static str, order: &Order, errno: Errno) -> KernelError {
    KernelError::new(call, format!("slot {}", order.slot), errno)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn spawn(socket: OwnedFd) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("wardian-launcher")
        .arg("park")
        .env_clear()
        .current_dir("/");
    // A group of its own, by which also what it has cloned is found if it fails.
    command
        .process_group(0)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null());
    command.spawn()
}

/// Ends a helper that failed, and reaps it and the process it may have cloned.
fn clear_away(helper: &mut Child) -> Result<()> {
    let id = helper.id();
    let failed = |call, e| KernelError::new(call, format!("helper {id}"), e);
    helper
        .kill()
        .and_then(|()| helper.wait())
        .map_err(|e| failed("kill", errno(&e)))?;
    let Some(group) = i32::try_from(id).ok().and_then(Pid::from_raw) else {
        return Ok(());
    };
    loop {
        match waitpgid(group, WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(e) => return Err(failed("reap children of", e)),
        }
    }
}

/// Gives the helper its order; returns the parked process's pid and its descriptors.
fn converse(socket: &OwnedFd, order: &Order) -> Result<(u32, OwnedFd, OwnedFd)> {
    let told = |reason: String| KernelError::told("park", format!("slot {}", order.slot), reason);
    let message = serde_json::to_vec(order).map_err(|e| told(e.to_string()))?;
    channel::send(socket, &message, &[]).map_err(|e| failed("send order for", order, e))?;
    let deadline = Instant::now() + PATIENCE;
    match wait_readable(socket.as_fd(), deadline) {
        Ok(true) => {}
        Ok(false) => return Err(failed("wait for helper of", order, Errno::TIMEDOUT)),
        Err(e) => return Err(failed("poll helper of", order, e)),
    }
    let mut buffer = vec![0; LONGEST_MESSAGE];
    let mut fds = Vec::new();
    let got = channel::receive(socket, &mut buffer, &mut fds)
        .map_err(|e| failed("hear from helper of", order, e))?;
    if got == 0 {
        return Err(told("the helper died".to_owned()));
    }
    match serde_json::from_slice(&buffer[..got]).map_err(|e| told(e.to_string()))? {
        Ready::Failed { what } => Err(told(what)),
        Ready::Parked { pid } => match <[OwnedFd; 2]>::try_from(fds) {
            Ok([edge, users]) => Ok((pid, edge, users)),
            Err(_) => Err(told("descriptors are missing".to_owned())),
        },
    }
}

/// Gives a parked process its job; returns when it has become `agent`.
pub(super) fn start(
    parked: &Parked,
    job: &Job,
    root: BorrowedFd<'_>,
    agent: &Path,
    boot: &[u8],
) -> Result<()> {
    let object = || format!("the agent in slot {}", parked.slot);
    let failed = |call| move |e| KernelError::new(call, object(), e);
    let program = overlay::program(agent)
        .map_err(|e| KernelError::new("clone", agent.display().to_string(), e))?;
    let boot = sealed(boot).map_err(failed("write boot configuration of"))?;
    // Its writing end closes with the exec: silence is success.
    let (errors, report) = pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe for"))?;
    let message =
        serde_json::to_vec(job).map_err(|e| KernelError::told("start", object(), e.to_string()))?;
    let fds = [root, program.as_fd(), boot.as_fd(), report.as_fd()];
    channel::send(&parked.socket, &message, &fds).map_err(failed("send job to"))?;
    drop(report);
    let mut what = [0; 1024];
    let deadline = Instant::now() + PATIENCE;
    if !wait_readable(errors.as_fd(), deadline).map_err(failed("poll"))? {
        return Err(failed("wait for")(Errno::TIMEDOUT));
    }
    let got = rustix::io::read(&errors, &mut what).map_err(failed("hear from"))?;
    if got > 0 {
        let reason = String::from_utf8_lossy(&what[..got]).into_owned();
        return Err(KernelError::told("start", object(), reason));
    }
    // Silence is also what a process leaves that was killed on the way.
    let now = Instant::now();
    if wait_readable(parked.process.descriptor.as_fd(), now).map_err(failed("poll"))? {
        return Err(KernelError::told(
            "start",
            object(),
            "it died at once".to_owned(),
        ));
    }
    Ok(())
}

/// A file in memory that nobody can change any more, at its beginning.
fn sealed(bytes: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("boot", flags)?);
    file.write_all(bytes).map_err(|e| errno(&e))?;
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}
