//! The few kernel calls that have no safe wrapper. All of them are used in single-threaded
//! processes only (spawner, supervisor, and the child before exec), except where said.

use rustix::fd::{FromRawFd, OwnedFd};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub(crate) enum Forked {
    Parent { child: i32 },
    Child,
}

fn last_error() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

fn check(result: libc::c_int) -> Result<(), Errno> {
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Splits this process in two. The caller must have one thread only: a lock that another thread
/// holds (malloc's, say) would stay locked in the child for ever.
///
/// # Errors
/// `EAGAIN` at the limit of processes, `ENOMEM` without memory.
pub(crate) fn fork() -> Result<Forked, Errno> {
    // SAFETY: fork has no preconditions in a single-threaded process, and the two callers
    // (spawner, supervisor) never start a thread.
    match unsafe { libc::fork() } {
        -1 => Err(last_error()),
        0 => Ok(Forked::Child),
        child => Ok(Forked::Parent { child }),
    }
}

/// Blocks SIGCHLD and returns a descriptor that is readable whenever one is pending.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: `set` is initialised by sigemptyset before it is read; signalfd returns a new
    // descriptor, or -1, which is checked before it is owned.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        check(libc::sigemptyset(&raw mut set))?;
        check(libc::sigaddset(&raw mut set, libc::SIGCHLD))?;
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            return Err(last_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// How the spawner wants signals: all at their default, so that no command inherits what the
/// agent, or whoever started it, ignores; but children that end leave no zombie, and writing to
/// who is gone is an error and not the end. (`exec` of the standard library sets SIGPIPE back and
/// empties the mask.)
pub(crate) fn spawner_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        let disposition = match signal {
            libc::SIGCHLD | libc::SIGPIPE => libc::SIG_IGN,
            _ => libc::SIG_DFL,
        };
        // SAFETY: both dispositions are valid for every signal and run no code; for signals that
        // can't be changed (KILL, STOP, two of libc's own) the call fails without effect.
        unsafe {
            libc::signal(signal, disposition);
        }
    }
}

/// Children that end are to be waited for, after all.
pub(crate) fn wait_for_children() {
    // SAFETY: SIG_DFL is a valid disposition for SIGCHLD.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// CPU time in microseconds that all children used which this process has waited for, with theirs
/// in turn, and the most memory in bytes that one of them was ever resident with.
pub(crate) fn used_by_children() -> (u64, u64) {
    // SAFETY: getrusage fills the structure it is given; all-zero is a valid value before.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    let cpu = micros(usage.ru_utime) + micros(usage.ru_stime);
    (cpu, usage.ru_maxrss as u64 * 1024)
}

/// Ends every access right of this process that `uid`, `gid` and `groups` do not have.
///
/// # Errors
/// `EPERM` where the agent is not root, `EINVAL` for an id the user namespace does not map.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the pointer and the length describe `groups`. libc's wrappers change all threads,
    // of which there is one.
    unsafe {
        check(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))
    }
}

/// Sets the CPU priority of this process.
pub(crate) fn set_nice(nice: i32) -> Result<(), Errno> {
    // SAFETY: takes plain numbers.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })
}

/// Marks every descriptor from 3 on to be closed at exec.
///
/// # Errors
/// `ENOSYS` before Linux 5.11.
pub(crate) fn close_others_on_exec() -> Result<(), Errno> {
    // SAFETY: only sets a flag on descriptors; nothing is closed while this program runs.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_error())
    }
}

/// Ends this process at once, without running destructors or exit handlers: what a forked child
/// must do, for those belong to its parent.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Takes over a descriptor that was inherited by number.
///
/// # Errors
/// `EBADF` if it is not open.
pub(crate) fn inherited(fd: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD only asks; afterwards the descriptor is known to be open, and each caller
    // takes a number exactly once, at start, before anything else could own it.
    unsafe {
        if libc::fcntl(fd, libc::F_GETFD) < 0 {
            return Err(last_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Lets tokio say when `fd` can be read or written.
///
/// # Errors
/// What the kernel says.
pub(crate) fn watched(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the AsyncFd owns the descriptor, so it stays open while it is registered.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}
