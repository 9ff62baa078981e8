//! A kernel for tests: remembers what is there and what was asked, and fails when told to.

use super::{Death, Kernel, KernelError, Process, Result};
use crate::parked::{Job, Order, Parked};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use wardian_wire::launcher::Family;

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) directories: BTreeSet<PathBuf>,
    pub(crate) files: BTreeMap<PathBuf, String>,
    pub(crate) wires: BTreeSet<PathBuf>,
    /// Pids that live.
    pub(crate) processes: BTreeSet<u32>,
}

#[derive(Debug, Default)]
struct State {
    world: World,
    calls: Vec<String>,
    next_pid: u32,
    /// The call with this number fails, if it makes something.
    fail_at: Option<usize>,
    /// At this call the launcher is no more.
    crash_at: Option<usize>,
    parked: BTreeSet<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Fake(Mutex<State>);

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

impl Fake {
    pub(crate) fn world(&self) -> World {
        self.lock().world.clone()
    }

    /// What was asked since the last time.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Lets the call `number` from now on fail; removing always works.
    pub(crate) fn fail_at(&self, number: Option<usize>) {
        let mut state = self.lock();
        state.calls.clear();
        state.fail_at = number;
    }

    /// Whether the failure that was ordered came.
    pub(crate) fn failed(&self) -> bool {
        self.lock().fail_at.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Panics at the call `number` from now on: nothing is undone after it.
    pub(crate) fn crash_at(&self, number: usize) {
        let mut state = self.lock();
        state.calls.clear();
        state.crash_at = Some(number);
    }

    /// Parked processes that were not started see the end of their socket.
    pub(crate) fn end_parked(&self) {
        let mut state = self.lock();
        let parked = std::mem::take(&mut state.parked);
        state.world.processes.retain(|pid| !parked.contains(pid));
    }

    /// No process, control group or wire is left, nor records where they were in memory.
    pub(crate) fn reboot(&self, pid: u32, keep_records: bool) {
        let mut state = self.lock();
        state.world.processes.remove(&pid);
        state.world.wires.clear();
        state
            .world
            .directories
            .retain(|path| !path.starts_with("/cg"));
        state.world.files.retain(|path, _| {
            !path.starts_with("/cg") && (keep_records || !path.starts_with("/run"))
        });
    }

    fn make<T>(
        &self,
        call: &'static str,
        object: String,
        f: impl FnOnce(&mut State) -> T,
    ) -> Result<T> {
        let mut state = self.lock();
        assert!(state.crash_at != Some(state.calls.len()), "crash");
        let number = state.calls.len();
        state.calls.push(format!("{call} {object}"));
        if state.fail_at == Some(number) {
            state.fail_at = None;
            return Err(KernelError::new(call, object, Errno::IO));
        }
        Ok(f(&mut state))
    }

    fn unmake(&self, call: &str, object: String, f: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        assert!(state.crash_at != Some(state.calls.len()), "crash");
        // Numbers count what can fail.
        if state.fail_at.is_none() {
            state.calls.push(format!("{call} {object}"));
        }
        f(&mut state);
    }

    fn process(&self, pid: u32) -> Process {
        Process {
            pid,
            start_time: u64::from(pid) * 10,
            descriptor: null(),
        }
    }
}

impl Kernel for Fake {
    fn create_dir(&self, path: &Path, _: u32) -> Result<()> {
        self.make("mkdir", path.display().to_string(), |s| {
            assert!(
                s.world.directories.insert(path.to_owned()),
                "{}",
                path.display()
            );
        })
    }
    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.unmake("rmdir", path.display().to_string(), |s| {
            s.world.directories.remove(path);
            // Files of a control group go with it.
            s.world.files.retain(|file, _| file.parent() != Some(path));
        });
        Ok(())
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let world = self.world();
        let all = world
            .directories
            .iter()
            .chain(world.files.keys())
            .chain(&world.wires);
        let inside = all.filter(|p| p.parent() == Some(path));
        Ok(inside
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect())
    }
    fn exists(&self, path: &Path) -> bool {
        let world = self.world();
        let kill_file = path.ends_with("cgroup.kill");
        kill_file || world.directories.contains(path) || world.files.contains_key(path)
    }
    fn read(&self, path: &Path) -> Result<String> {
        Ok(self.world().files.get(path).cloned().unwrap_or_default())
    }
    fn write(&self, path: &Path, text: &str) -> Result<()> {
        if path.ends_with("cgroup.kill") {
            let group = path
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap();
            let slot: u32 = group.parse().unwrap();
            self.unmake("kill group", group.to_owned(), |s| {
                s.world.processes.retain(|pid| pid / 1000 != slot);
            });
            return Ok(());
        }
        self.make("write", path.display().to_string(), |s| {
            s.world.files.insert(path.to_owned(), text.to_owned());
        })
    }
    fn replace(&self, path: &Path, text: &[u8]) -> Result<()> {
        self.make("replace", path.display().to_string(), |s| {
            let text = String::from_utf8(text.to_vec()).unwrap();
            s.world.files.insert(path.to_owned(), text);
        })
    }
    fn remove_file(&self, path: &Path) -> Result<()> {
        self.unmake("unlink", path.display().to_string(), |s| {
            s.world.files.remove(path);
        });
        Ok(())
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.make(
            "rename",
            format!("{} {}", from.display(), to.display()),
            |s| {
                let moved = |path: &PathBuf| match path.strip_prefix(from) {
                    Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
                    Ok(rest) => to.join(rest),
                    Err(_) => path.clone(),
                };
                s.world.directories = s.world.directories.iter().map(moved).collect();
                let files = std::mem::take(&mut s.world.files).into_iter();
                s.world.files = files.map(|(path, text)| (moved(&path), text)).collect();
            },
        )
    }
    fn remove_tree(&self, path: &Path) -> Result<()> {
        self.unmake("remove", path.display().to_string(), |s| {
            s.world.directories.retain(|p| !p.starts_with(path));
            s.world.files.retain(|p, _| !p.starts_with(path));
        });
        Ok(())
    }
    fn measure_tree(&self, _: &Path) -> Result<u64> {
        Ok(7)
    }
    fn create_subvolume(&self, path: &Path) -> Result<()> {
        self.create_dir(path, 0)
    }
    fn destroy_subvolume(&self, path: &Path) -> Result<Option<u64>> {
        let was = self.exists(path);
        self.remove_tree(path)?;
        Ok(was.then_some(256))
    }
    fn limit_subvolume(&self, path: &Path, bytes: u64) -> Result<()> {
        self.make("limit", format!("{} {bytes}", path.display()), |_| ())
    }
    fn subvolume_referenced(&self, _: &Path) -> Result<u64> {
        Ok(7)
    }
    fn remove_quota_group(&self, _: &Path, _: u64) -> Result<bool> {
        Ok(true)
    }
    fn bind_namespace(&self, _: BorrowedFd<'_>, path: &Path) -> Result<()> {
        self.make("bind", path.display().to_string(), |s| {
            s.world.wires.insert(path.to_owned());
        })
    }
    fn unbind_namespace(&self, path: &Path) -> Result<()> {
        self.unmake("unbind", path.display().to_string(), |s| {
            s.world.wires.remove(path);
        });
        Ok(())
    }
    fn overlay(&self, _: &[PathBuf], disk: &Path, _: BorrowedFd<'_>, _: u32) -> Result<OwnedFd> {
        self.make("overlay", disk.display().to_string(), |_| null())
    }
    fn park(&self, order: &Order) -> Result<Parked> {
        let pid = self.make("park", order.slot.to_string(), |s| {
            s.next_pid += 1;
            let pid = order.slot * 1000 + s.next_pid;
            s.world.processes.insert(pid);
            s.parked.insert(pid);
            pid
        })?;
        Ok(Parked {
            slot: order.slot,
            uid_base: order.uid_base,
            process: self.process(pid),
            socket: null(),
            edge_network: null(),
            users: null(),
        })
    }
    fn start(&self, parked: &Parked, _: &Job, _: BorrowedFd<'_>, _: &[u8]) -> Result<()> {
        self.make("start", parked.slot.to_string(), |s| {
            s.parked.remove(&parked.process.pid);
        })
    }
    fn find(&self, pid: u32, start_time: u64) -> Result<Option<Process>> {
        let found = self.find_any(pid)?;
        Ok(found.filter(|process| process.start_time == start_time))
    }
    fn find_any(&self, pid: u32) -> Result<Option<Process>> {
        Ok(self
            .world()
            .processes
            .contains(&pid)
            .then(|| self.process(pid)))
    }
    fn sockets_beside(
        &self,
        process: &Process,
        family: Family,
        count: u32,
    ) -> Result<Vec<OwnedFd>> {
        let object = format!("{family:?} {}", process.pid);
        self.make("sockets beside", object, |_| {
            (0..count).map(|_| null()).collect()
        })
    }
    fn open_outbound(&self, path: &Path) -> Result<Vec<OwnedFd>> {
        let object = path.display().to_string();
        self.make("open outbound", object, |s| {
            assert!(s.world.wires.contains(path), "no edge namespace");
            vec![null(), null(), null()]
        })
    }
    fn duplicate(&self, descriptors: &[OwnedFd]) -> Result<Vec<OwnedFd>> {
        self.make("duplicate", descriptors.len().to_string(), |_| {
            descriptors.iter().map(|_| null()).collect()
        })
    }
    fn kill(&self, process: &Process) -> Result<()> {
        self.unmake("kill", process.pid.to_string(), |s| {
            s.world.processes.remove(&process.pid);
        });
        Ok(())
    }
    fn wait(&self, process: &Process, _: Duration) -> Result<Option<Death>> {
        Ok((!self.world().processes.contains(&process.pid)).then_some(Death::Killed))
    }
    fn pause(&self, _: Duration) {}
}
