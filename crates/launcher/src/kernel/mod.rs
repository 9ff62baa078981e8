//! Everything the launcher asks of the kernel for a sandbox, behind one seam: [`Kernel`]. The
//! real one is [`host::Host`]; tests of ordering and undoing use a recording fake.

pub(crate) mod btrfs;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod host;
pub(crate) mod loop_device;
pub(crate) mod netlink;
mod nf_tables;
pub(crate) mod outbound;
pub(crate) mod overlay;
mod park;
pub(crate) mod raw;
mod raw_socket;
pub(crate) mod sockets;
pub(crate) mod tree;

use crate::parked::{Job, Order, Parked};
use rustix::io::Errno;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;
use wardian_wire::launcher::Family;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call} {object}: {reason}")]
pub(crate) struct KernelError {
    /// What was tried, as the kernel calls it.
    pub(crate) call: &'static str,
    /// On what.
    pub(crate) object: String,
    pub(crate) errno: Errno,
    reason: String,
}

impl KernelError {
    /// A failure of `call` on `object`.
    pub(crate) fn new(call: &'static str, object: impl Into<String>, errno: Errno) -> Self {
        let reason = std::io::Error::from(errno).to_string();
        Self {
            call,
            object: object.into(),
            errno,
            reason,
        }
    }

    /// Like [`Self::new`], with the reason another process gave in words.
    pub(crate) fn told(call: &'static str, object: impl Into<String>, reason: String) -> Self {
        Self {
            call,
            object: object.into(),
            errno: Errno::IO,
            reason,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, KernelError>;

/// A process, by a descriptor that can't come to mean another one.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// When it started, in clock ticks since boot: with the pid, tells it from a later process.
    pub(crate) start_time: u64,
    pub(crate) descriptor: OwnedFd,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// By SIGKILL.
    Killed,
    /// In some other way.
    Other,
    /// It was no child of this launcher's: the kernel does not tell.
    Untold,
}

/// What the launcher asks of the kernel.
pub(crate) trait Kernel: std::fmt::Debug + Send + Sync + 'static {
    /// Makes a directory.
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()>;
    /// Removes an empty directory; that there is none is no error.
    fn remove_dir(&self, path: &Path) -> Result<()>;
    /// Names in a directory; none if there is no such directory.
    fn list(&self, path: &Path) -> Result<Vec<String>>;
    /// Whether something is at `path`.
    fn exists(&self, path: &Path) -> bool;
    /// Reads a small file.
    fn read(&self, path: &Path) -> Result<String>;
    /// Writes to a file that exists, as control groups want it.
    fn write(&self, path: &Path, text: &str) -> Result<()>;
    /// Writes a file so that readers see the old or the new one, whole.
    fn replace(&self, path: &Path, text: &[u8]) -> Result<()>;
    /// Removes a file; that there is none is no error.
    fn remove_file(&self, path: &Path) -> Result<()>;
    /// Gives what lies at `from` the name `to`, which must be free.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Removes a directory and all in it, following nothing; that there is none is no error.
    fn remove_tree(&self, path: &Path) -> Result<()>;
    /// Bytes in all files below `path`.
    fn measure_tree(&self, path: &Path) -> Result<u64>;

    fn create_subvolume(&self, path: &Path) -> Result<()>;
    /// Removes a subvolume and returns its number; `None` if there is none.
    fn destroy_subvolume(&self, path: &Path) -> Result<Option<u64>>;
    fn limit_subvolume(&self, path: &Path, bytes: u64) -> Result<()>;
    fn subvolume_referenced(&self, path: &Path) -> Result<u64>;
    /// Removes the quota group of a subvolume that is gone; false while that is not yet possible.
    fn remove_quota_group(&self, pool: &Path, subvolume: u64) -> Result<bool>;

    /// Makes `namespace` reachable at `path`.
    fn bind_namespace(&self, namespace: BorrowedFd<'_>, path: &Path) -> Result<()>;
    /// Undoes [`Self::bind_namespace`]; that there is none is no error.
    fn unbind_namespace(&self, path: &Path) -> Result<()>;
    /// See [`overlay::mount`].
    fn overlay(
        &self,
        layers: &[PathBuf],
        disk: &Path,
        users: BorrowedFd<'_>,
        owner: u32,
    ) -> Result<OwnedFd>;

    /// Makes a process in new namespaces that waits to become a sandbox.
    fn park(&self, order: &Order) -> Result<Parked>;
    /// Makes a parked process the agent of a sandbox; returns when it has been exec'ed.
    fn start(&self, parked: &Parked, job: &Job, root: BorrowedFd<'_>, boot: &[u8]) -> Result<()>;
    /// The process of this pid and start time, if it still runs.
    fn find(&self, pid: u32, start_time: u64) -> Result<Option<Process>>;
    fn kill(&self, process: &Process) -> Result<()>;
    /// The process of this pid, whichever it is.
    fn find_any(&self, pid: u32) -> Result<Option<Process>>;
    /// Waits for its end and reaps it; `None` if it is still there after `patience`. May be
    /// repeated, but only the first to see it is told how it ended.
    fn wait(&self, process: &Process, patience: Duration) -> Result<Option<Death>>;
    /// Unconnected TCP sockets made in the network namespace of a process.
    fn sockets_beside(&self, process: &Process, family: Family, count: u32)
        -> Result<Vec<OwnedFd>>;
    /// Listener, resolver and packet socket in the edge namespace that is reachable at `path`; see
    /// [`outbound::open`].
    fn open_outbound(&self, path: &Path) -> Result<Vec<OwnedFd>>;
    /// Copies of descriptors.
    fn duplicate(&self, descriptors: &[OwnedFd]) -> Result<Vec<OwnedFd>>;
    /// Waits a moment between two attempts.
    fn pause(&self, time: Duration);
}

/// Waits until `fd` can be read (or has ended); false at `deadline`.
pub(crate) fn wait_readable(
    fd: BorrowedFd<'_>,
    deadline: std::time::Instant,
) -> std::result::Result<bool, Errno> {
    use rustix::event::{poll, PollFd, PollFlags};
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = left.try_into().map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            result => return result.map(|ready| ready > 0),
        }
    }
}
