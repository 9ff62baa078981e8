//! The system calls that neither the standard library nor rustix wrap, each as a safe function.
//! All `unsafe` of the launcher's own work is here and in `raw_socket.rs`, `btrfs.rs` and
//! `loop_device.rs`.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// Turns the -1 of a libc call into the error it stands for.
pub(crate) fn check(value: libc::c_long) -> Result<libc::c_long> {
    if value == -1 {
        let raw = std::io::Error::last_os_error().raw_os_error();
        return Err(Errno::from_raw_os_error(raw.unwrap_or(libc::EIO)));
    }
    Ok(value)
}

/// All namespaces a sandbox has of its own.
pub(crate) const SANDBOX_NAMESPACES: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64
    | CLONE_NEWTIME;
const CLONE_NEWTIME: u64 = 0x80;

/// Which side of a [`fork_into`] this is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Parent { child: u32 },
    Child,
}

/// Forks into new namespaces; the child's parent is this process's parent, so that the launcher
/// can reap it. Only for a process with one thread: the child gets a copy of all memory, and a
/// lock held by another thread would never be released in it.
pub(crate) fn fork_into(namespaces: u64) -> Result<Side> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs([u64; 11]);
    let mut arguments = CloneArgs::default();
    arguments.0[0] = namespaces | libc::CLONE_PARENT as u64;
    // SAFETY: all pointers in the structure are zero (unused) and neither CLONE_VM nor a stack is
    // given, so the call is a fork; the size passed is that of the structure.
    let pid = check(unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<CloneArgs>())
    })?;
    Ok(match u32::try_from(pid) {
        Ok(0) => Side::Child,
        Ok(child) => Side::Parent { child },
        Err(_) => return Err(Errno::RANGE),
    })
}

/// What to change about a detached mount.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountChange<'a> {
    pub(crate) set: u64,
    /// Show owners as this user namespace maps them.
    pub(crate) idmap: Option<BorrowedFd<'a>>,
}

/// `mount_setattr` on the mount that `mount` is the root of.
pub(crate) fn change_mount(mount: impl AsFd, change: MountChange<'_>) -> Result<()> {
    let mut attributes = libc::mount_attr {
        attr_set: change.set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    if let Some(namespace) = change.idmap {
        attributes.attr_set |= libc::MOUNT_ATTR_IDMAP;
        attributes.userns_fd = u64::try_from(namespace.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: the path is an empty C string, the structure lives through the call and its size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw mut attributes,
            size_of::<libc::mount_attr>(),
        )
    })?;
    Ok(())
}

/// Sets the file-system uid and gid of this thread.
pub(crate) fn set_thread_fs_owner(uid: u32, gid: u32) -> Result<()> {
    // SAFETY: these calls take numbers only and change nothing but this thread's credentials.
    // They do not report failure; asking with -1 (never valid) tells what is set.
    let set = unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
        (
            libc::syscall(libc::SYS_setfsuid, u32::MAX),
            libc::syscall(libc::SYS_setfsgid, u32::MAX),
        )
    };
    let is = |value: libc::c_long, wanted: u32| u32::try_from(value) == Ok(wanted);
    if is(set.0, uid) && is(set.1, gid) {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

/// Marks every descriptor from `first` up close-on-exec: nothing of the host's survives the exec
/// that follows, whatever was forgotten.
pub(crate) fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: numbers only; descriptors stay open, so no owner is invalidated.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })?;
    Ok(())
}

/// Puts a copy of `from` at the descriptor number `to`, to be inherited by the next exec.
pub(crate) fn place_descriptor(from: impl AsFd, to: RawFd) -> Result<()> {
    let from = from.as_fd().as_raw_fd();
    if from == to {
        // SAFETY: dup2 of a descriptor onto itself would keep close-on-exec set; numbers only.
        check(unsafe { libc::fcntl(from, libc::F_SETFD, 0) }.into())?;
        return Ok(());
    }
    // SAFETY: numbers only. Whatever had the number `to` is closed; the caller has made sure that
    // it owns nothing there (it moves its own descriptors above first).
    check(unsafe { libc::dup2(from, to) }.into())?;
    Ok(())
}

/// Copies `fd` to a number of at least `lowest`, close-on-exec.
pub(crate) fn move_above(fd: OwnedFd, lowest: RawFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() >= lowest {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, lowest)
}

/// Replaces this program by the file that `program` is, with one argument and no environment.
/// Returns only if that failed.
pub(crate) fn exec(program: impl AsFd, name: &CStr) -> Errno {
    let arguments = [name.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: both arrays end with a null pointer and hold C strings that live through the call.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_fd().as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    });
    result.err().unwrap_or(Errno::IO)
}

/// Leaves the session keyring of whoever started this process for an empty one.
pub(crate) fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the name is null, which asks for an anonymous keyring.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            std::ptr::null::<libc::c_char>(),
        )
    })?;
    Ok(())
}

/// Installs a seccomp filter. Needs `CAP_SYS_ADMIN` in the current user namespace, since
/// `no_new_privs` is not set (sudo must work inside).
pub(crate) fn install_seccomp(program: &[libc::sock_filter]) -> Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel copies `len` instructions from the slice, which lives through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })?;
    Ok(())
}

/// Sets the hard and soft limit of one resource, each cut to the present hard limit.
pub(crate) fn limit_resource(
    resource: libc::__rlimit_resource_t,
    soft: u64,
    hard: u64,
) -> Result<()> {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure lives through both calls.
    unsafe {
        check(libc::getrlimit(resource, &raw mut now).into())?;
        now.rlim_max = hard.min(now.rlim_max);
        now.rlim_cur = soft.min(now.rlim_max);
        check(libc::setrlimit(resource, &raw const now).into())?;
    }
    Ok(())
}

/// Makes this process unreadable for others of the same user (no ptrace, no core dump).
pub(crate) fn set_undumpable() -> Result<()> {
    // SAFETY: numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into())?;
    Ok(())
}

/// Leaves the network namespace of this thread for `namespace`.
pub(crate) fn enter_network(namespace: impl AsFd) -> Result<()> {
    // SAFETY: numbers only; a network namespace is per thread.
    check(unsafe { libc::setns(namespace.as_fd().as_raw_fd(), libc::CLONE_NEWNET) }.into())?;
    Ok(())
}

/// Leaves shared namespaces. Only for a process with one thread.
pub(crate) fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: numbers only; CLONE_FILES and CLONE_FS, which would bear on soundness, are not used.
    check(unsafe { libc::unshare(flags) }.into())?;
    Ok(())
}

/// An `ioctl` that takes a pointer to `argument`.
///
/// # Safety
/// `request` must be one for which the kernel reads and writes at most a `T` there.
pub(super) unsafe fn ioctl<T>(fd: impl AsFd, request: u64, argument: &mut T) -> Result<i32> {
    // SAFETY: the caller's promise; the reference lives through the call.
    let value = unsafe {
        libc::ioctl(
            fd.as_fd().as_raw_fd(),
            request as libc::Ioctl,
            std::ptr::from_mut(argument),
        )
    };
    check(value.into())?;
    Ok(value)
}

/// Takes descriptor `number`, which something outside of this program has put there.
///
/// # Errors
/// `EBADF` if it is not open.
pub(crate) fn inherited(number: RawFd) -> Result<OwnedFd> {
    // SAFETY: numbers only.
    check(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: it is open, and the one caller takes each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
