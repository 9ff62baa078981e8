//! The real kernel.

use super::{btrfs, outbound, overlay, sockets, tree, Death, Kernel, KernelError, Process, Result};
use crate::parked::{network, Job, Order, Parked};
use rustix::fs::{Mode, CWD};
use rustix::io::Errno;
use rustix::mount::{mount_bind, unmount, UnmountFlags};
use rustix::process::{
    pidfd_open, pidfd_send_signal, waitid, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions,
};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wardian_wire::launcher::Family;

/// No file the launcher reads is longer: records hold 64 layer ids at most.
const LONGEST_FILE: u64 = 256 * 1024;

/// This machine.
#[derive(Debug)]
pub(crate) struct Host {
    /// The program that becomes PID 1 of sandboxes.
    agent: PathBuf,
}

impl Host {
    pub(crate) fn new(agent: PathBuf) -> Self {
        Self { agent }
    }
}

/// Names call and path in an error.
fn on<'a>(call: &'static str, path: &'a Path) -> impl FnOnce(Errno) -> KernelError + 'a {
    move |errno| KernelError::new(call, path.display().to_string(), errno)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// That there is nothing is what was wanted.
fn unless_missing(result: std::result::Result<(), Errno>) -> std::result::Result<(), Errno> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

impl Kernel for Host {
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        rustix::fs::mkdir(path, Mode::from_raw_mode(mode)).map_err(on("mkdir", path))
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        unless_missing(rustix::fs::rmdir(path)).map_err(on("rmdir", path))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(on("list", path)(errno(&e))),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| on("list", path)(errno(&e)))?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        rustix::fs::lstat(path).is_ok()
    }

    fn read(&self, path: &Path) -> Result<String> {
        use std::io::Read;
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(LONGEST_FILE).read_to_string(&mut text));
        read.map_err(|e| on("read", path)(errno(&e)))?;
        Ok(text)
    }

    fn write(&self, path: &Path, text: &str) -> Result<()> {
        let file = std::fs::OpenOptions::new().write(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|e| {
                KernelError::new("write", format!("{text} to {}", path.display()), errno(&e))
            })
    }

    fn replace(&self, path: &Path, text: &[u8]) -> Result<()> {
        let new = path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW);
        options
            .open(&new)
            .and_then(|mut file| file.write_all(text))
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|e| on("write", path)(errno(&e)))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        unless_missing(rustix::fs::unlink(path)).map_err(on("unlink", path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(CWD, from, CWD, to, flags).map_err(|e| {
            let object = format!("{} to {}", from.display(), to.display());
            KernelError::new("rename", object, e)
        })
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        tree::remove(path).map_err(on("remove", path))
    }

    fn measure_tree(&self, path: &Path) -> Result<u64> {
        tree::measure(path).map_err(on("measure", path))
    }

    fn create_subvolume(&self, path: &Path) -> Result<()> {
        btrfs::create_subvolume(path).map_err(on("create subvolume", path))
    }

    fn destroy_subvolume(&self, path: &Path) -> Result<Option<u64>> {
        let number = match btrfs::subvolume_number(path) {
            Err(Errno::NOENT) => return Ok(None),
            result => result.map_err(on("find subvolume", path))?,
        };
        btrfs::destroy_subvolume(path).map_err(on("destroy subvolume", path))?;
        Ok(Some(number))
    }

    fn limit_subvolume(&self, path: &Path, bytes: u64) -> Result<()> {
        btrfs::limit(path, bytes).map_err(on("limit subvolume", path))
    }

    fn subvolume_referenced(&self, path: &Path) -> Result<u64> {
        btrfs::referenced(path).map_err(on("read quota of", path))
    }

    fn remove_quota_group(&self, pool: &Path, subvolume: u64) -> Result<bool> {
        match btrfs::remove_group(pool, subvolume) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::BUSY) => Ok(false),
            Err(error) => Err(on("remove quota group in", pool)(error)),
        }
    }

    fn bind_namespace(&self, namespace: BorrowedFd<'_>, path: &Path) -> Result<()> {
        use rustix::fs::{open, OFlags};
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        open(path, flags, Mode::from_raw_mode(0o600)).map_err(on("create", path))?;
        let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
        mount_bind(source, path).map_err(on("bind namespace to", path))
    }

    fn unbind_namespace(&self, path: &Path) -> Result<()> {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
            Err(error) => return Err(on("unmount", path)(error)),
        }
        self.remove_file(path)
    }

    fn overlay(
        &self,
        layers: &[PathBuf],
        disk: &Path,
        users: BorrowedFd<'_>,
        owner: u32,
    ) -> Result<OwnedFd> {
        overlay::mount(layers, disk, users, owner).map_err(on("mount overlay on", disk))
    }

    fn park(&self, order: &Order) -> Result<Parked> {
        super::park::park(order)
    }

    fn start(&self, parked: &Parked, job: &Job, root: BorrowedFd<'_>, boot: &[u8]) -> Result<()> {
        super::park::start(parked, job, root, &self.agent, boot)
    }

    fn find(&self, pid: u32, start_time: u64) -> Result<Option<Process>> {
        let found = self.find_any(pid)?;
        // Read after the descriptor was opened: it is that process or a dead one's number.
        Ok(found.filter(|process| process.start_time == start_time))
    }

    fn find_any(&self, pid: u32) -> Result<Option<Process>> {
        find_any(pid)
    }

    fn kill(&self, process: &Process) -> Result<()> {
        match pidfd_send_signal(&process.descriptor, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(e) => Err(KernelError::new(
                "kill",
                format!("process {}", process.pid),
                e,
            )),
        }
    }

    fn sockets_beside(
        &self,
        process: &Process,
        family: Family,
        count: u32,
    ) -> Result<Vec<OwnedFd>> {
        let object = format!("process {}", process.pid);
        // By its descriptor: a pid could have become another's meanwhile.
        sockets::make(&process.descriptor, family, count, &object)
    }

    fn open_outbound(&self, path: &Path) -> Result<Vec<OwnedFd>> {
        let namespace = std::fs::File::open(path).map_err(|e| on("open", path)(errno(&e)))?;
        outbound::open(namespace, network::WIRE, &path.display().to_string())
    }

    fn duplicate(&self, descriptors: &[OwnedFd]) -> Result<Vec<OwnedFd>> {
        let copies = descriptors.iter().map(OwnedFd::try_clone);
        copies
            .collect::<std::io::Result<_>>()
            .map_err(|e| KernelError::new("duplicate", "sockets", errno(&e)))
    }

    fn wait(&self, process: &Process, patience: Duration) -> Result<Option<Death>> {
        let failed = |call, e| KernelError::new(call, format!("process {}", process.pid), e);
        let deadline = std::time::Instant::now() + patience;
        if !super::wait_readable(process.descriptor.as_fd(), deadline)
            .map_err(|e| failed("poll", e))?
        {
            return Ok(None);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(process.descriptor.as_fd()), options) {
            Ok(Some(status)) if status.terminating_signal() == Some(libc::SIGKILL) => {
                Ok(Some(Death::Killed))
            }
            Ok(Some(_)) => Ok(Some(Death::Other)),
            Ok(None) | Err(Errno::CHILD) => Ok(Some(Death::Untold)),
            Err(e) => Err(failed("wait for", e)),
        }
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The process of this pid, if it is alive.
pub(super) fn find_any(pid: u32) -> Result<Option<Process>> {
    let object = || format!("process {pid}");
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    let descriptor = match pidfd_open(number, PidfdFlags::empty()) {
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        result => result.map_err(|e| KernelError::new("pidfd_open", object(), e))?,
    };
    let Some((state, start_time)) = read_stat(pid) else {
        return Ok(None);
    };
    let alive = !matches!(state, 'Z' | 'X' | 'x');
    Ok(alive.then_some(Process {
        pid,
        start_time,
        descriptor,
    }))
}

/// State and start time of a process, from /proc.
fn read_stat(pid: u32) -> Option<(char, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, which the process chose itself, ends at the last parenthesis.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some((state, start_time))
}
