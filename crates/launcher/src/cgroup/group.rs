//! The control groups of one slot: one directory in each hierarchy that is used.

use super::Hierarchies;
use crate::kernel::{Kernel, KernelError, Result};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use wardian_wire::launcher::Limits;

const CPU_PERIOD_USEC: u64 = 100_000;
/// How often, and how long in all, a directory is tried that still holds dying processes.
const REMOVE_PAUSE: Duration = Duration::from_millis(2);
const REMOVE_ATTEMPTS: u32 = 500;

/// The launcher's part of the hierarchies.
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    pub(super) kernel: Arc<dyn Kernel>,
    hierarchies: Hierarchies,
    /// Name of the directory that holds all slots.
    parent: String,
}

/// A controller's directory for one slot, and which dialect it speaks.
pub(super) enum Dialect {
    V1(PathBuf),
    V2(PathBuf),
}

impl Groups {
    /// `instance` tells several nodes on one machine apart.
    pub(crate) fn new(kernel: Arc<dyn Kernel>, hierarchies: Hierarchies, instance: &str) -> Self {
        let parent = format!("wardian-{instance}");
        Self {
            kernel,
            hierarchies,
            parent,
        }
    }

    /// `v1`, `v2` or `hybrid`.
    pub(crate) fn layout(&self) -> &'static str {
        self.hierarchies.name()
    }

    /// Makes the directories that hold all slots, ready for children.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn prepare(&self) -> Result<()> {
        for parent in self.parents(true) {
            if !self.kernel.exists(&parent) {
                self.kernel.create_dir(&parent, 0o755)?;
            }
        }
        let Some(v2) = &self.hierarchies.v2 else {
            return Ok(());
        };
        for controller in ["memory", "pids", "cpu", "io"] {
            if !self.hierarchies.on_v2(controller) {
                continue;
            }
            for place in [v2.clone(), v2.join(&self.parent)] {
                let file = place.join("cgroup.subtree_control");
                let on = self.kernel.read(&file)?;
                if !on.split_whitespace().any(|c| c == controller) {
                    self.kernel.write(&file, &format!("+{controller}"))?;
                }
            }
        }
        Ok(())
    }

    /// Mount points in use, each once; `lazy` ones are joined only by sandboxes that need them.
    fn mounts(&self, lazy: bool) -> Vec<PathBuf> {
        let mut names = vec!["memory", "pids", "cpu"];
        if self.hierarchies.v2.is_none() {
            names.extend(["freezer", "cpuacct"]);
        }
        if lazy {
            names.push("blkio");
        }
        let v1 = names
            .iter()
            .filter_map(|name| self.hierarchies.v1.get(*name));
        let mut mounts: Vec<PathBuf> = v1.cloned().collect();
        mounts.extend(self.hierarchies.v2.clone());
        mounts.sort();
        mounts.dedup();
        mounts
    }

    fn parents(&self, lazy: bool) -> Vec<PathBuf> {
        let mounts = self.mounts(lazy);
        mounts.into_iter().map(|m| m.join(&self.parent)).collect()
    }

    fn directories(&self, slot: u32, lazy: bool) -> Vec<PathBuf> {
        let parents = self.parents(lazy);
        parents
            .into_iter()
            .map(|p| p.join(slot.to_string()))
            .collect()
    }

    /// Makes the groups of `slot` and returns the files to join them by. If one can't be made,
    /// none is left.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn create(&self, slot: u32) -> Result<Vec<PathBuf>> {
        let directories = self.directories(slot, false);
        for directory in &directories {
            if let Err(error) = self.kernel.create_dir(directory, 0o755) {
                self.remove(slot)?;
                return Err(error);
            }
        }
        Ok(directories.iter().map(|d| d.join("cgroup.procs")).collect())
    }

    /// Removes the groups of `slot`, waiting for the last process to be gone.
    ///
    /// # Errors
    /// `EBUSY` if processes stay.
    pub(crate) fn remove(&self, slot: u32) -> Result<()> {
        for directory in self.directories(slot, true) {
            let mut attempt = 0;
            loop {
                match self.kernel.remove_dir(&directory) {
                    Err(error) if error.errno == Errno::BUSY && attempt < REMOVE_ATTEMPTS => {
                        attempt += 1;
                        self.kernel.pause(REMOVE_PAUSE);
                    }
                    result => break result?,
                }
            }
        }
        Ok(())
    }

    /// Slots that have a group.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn slots(&self) -> Result<Vec<u32>> {
        let mut slots = Vec::new();
        for parent in self.parents(true) {
            let names = self.kernel.list(&parent)?;
            slots.extend(names.iter().filter_map(|name| name.parse::<u32>().ok()));
        }
        slots.sort_unstable();
        slots.dedup();
        Ok(slots)
    }

    /// Removes the directories that hold all slots, if none is left.
    ///
    /// # Errors
    /// `EBUSY` if slots are left.
    pub(crate) fn remove_parents(&self) -> Result<()> {
        for parent in self.parents(true) {
            self.kernel.remove_dir(&parent)?;
        }
        Ok(())
    }

    pub(super) fn controller(&self, controller: &str, slot: u32) -> Option<Dialect> {
        let below = |mount: &Path| mount.join(&self.parent).join(slot.to_string());
        if let Some(mount) = self.hierarchies.v1.get(controller) {
            return Some(Dialect::V1(below(mount)));
        }
        let mount = self.hierarchies.v2.as_deref()?;
        let has = self.hierarchies.on_v2(controller);
        has.then(|| Dialect::V2(below(mount)))
    }

    pub(super) fn v2(&self, slot: u32) -> Option<PathBuf> {
        let mount = self.hierarchies.v2.as_ref()?;
        Some(mount.join(&self.parent).join(slot.to_string()))
    }

    /// Sets all limits but that of block I/O.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn limit(&self, slot: u32, limits: &Limits) -> Result<()> {
        let write = |directory: &Path, file: &str, value: String| {
            self.kernel.write(&directory.join(file), &value)
        };
        match self.controller("memory", slot) {
            Some(Dialect::V1(at)) => {
                write(
                    &at,
                    "memory.limit_in_bytes",
                    limits.memory_bytes.to_string(),
                )?;
                // There only where swap is accounted.
                if self.kernel.exists(&at.join("memory.memsw.limit_in_bytes")) {
                    let value = limits.memory_bytes.to_string();
                    write(&at, "memory.memsw.limit_in_bytes", value)?;
                }
            }
            Some(Dialect::V2(at)) => {
                write(&at, "memory.max", limits.memory_bytes.to_string())?;
                if self.kernel.exists(&at.join("memory.swap.max")) {
                    write(&at, "memory.swap.max", "0".to_owned())?;
                }
            }
            None => {}
        }
        if let Some(Dialect::V1(at) | Dialect::V2(at)) = self.controller("pids", slot) {
            write(&at, "pids.max", limits.pids.to_string())?;
        }
        let quota = u64::from(limits.cpu_millis) * CPU_PERIOD_USEC / 1000;
        match self.controller("cpu", slot) {
            Some(Dialect::V1(at)) => {
                write(&at, "cpu.cfs_period_us", CPU_PERIOD_USEC.to_string())?;
                write(&at, "cpu.cfs_quota_us", quota.to_string())
            }
            Some(Dialect::V2(at)) => write(&at, "cpu.max", format!("{quota} {CPU_PERIOD_USEC}")),
            None => Ok(()),
        }
    }

    /// Limits reading and writing of `device` (`major:minor`) to `bytes` a second each, for the
    /// sandbox whose only process so far is `pid`.
    ///
    /// # Errors
    /// Those of the calls; `EOPNOTSUPP` if this machine can't limit block I/O.
    pub(crate) fn limit_io(&self, slot: u32, pid: u32, device: &str, bytes: u64) -> Result<()> {
        match self
            .controller("blkio", slot)
            .or_else(|| self.controller("io", slot))
        {
            Some(Dialect::V1(at)) => {
                self.kernel.create_dir(&at, 0o755)?;
                self.kernel
                    .write(&at.join("cgroup.procs"), &pid.to_string())?;
                for way in ["read", "write"] {
                    let file = at.join(format!("blkio.throttle.{way}_bps_device"));
                    self.kernel.write(&file, &format!("{device} {bytes}"))?;
                }
                Ok(())
            }
            Some(Dialect::V2(at)) => {
                let line = format!("{device} rbps={bytes} wbps={bytes}");
                self.kernel.write(&at.join("io.max"), &line)
            }
            None => Err(KernelError::new(
                "limit block I/O",
                format!("slot {slot}"),
                Errno::OPNOTSUPP,
            )),
        }
    }

    /// Kills every process of `slot`, if the kernel can do that in one go; else false.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn kill(&self, slot: u32) -> Result<bool> {
        let Some(file) = self.v2(slot).map(|at| at.join("cgroup.kill")) else {
            return Ok(false);
        };
        if !self.kernel.exists(&file) {
            return Ok(false);
        }
        self.kernel.write(&file, "1").map(|()| true)
    }

    /// Pids of all processes in the groups of `slot`.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn processes(&self, slot: u32) -> Result<Vec<u32>> {
        let mut pids = Vec::new();
        for directory in self.directories(slot, true) {
            let file = directory.join("cgroup.procs");
            if self.kernel.exists(&file) {
                let text = self.kernel.read(&file)?;
                pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }
}
