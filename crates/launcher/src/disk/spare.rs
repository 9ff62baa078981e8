//! Disks: making one is a transaction of the file system, so spares are made ahead and a create
//! only renames one.

use super::Pool;
use crate::kernel::{KernelError, Result};
use std::path::{Path, PathBuf};
use wardian_wire::launcher::LayerId;
use wardian_wire::node::PoolKind;
use wardian_wire::SandboxId;

/// Spares' names begin so; no sandbox id does.
const SPARE: &str = ".spare-";
/// Beside upper and work: the layers below, one id a line, for when the record is lost.
const LAYERS: &str = "layers";

impl Pool {
    /// Where disks are.
    pub(crate) fn disks(&self) -> PathBuf {
        self.path.join("disks")
    }

    /// Where the disk of `sandbox` is.
    pub(crate) fn disk(&self, sandbox: &SandboxId) -> PathBuf {
        self.disks().join(sandbox.as_str())
    }

    fn spare(&self, slot: u32) -> PathBuf {
        self.disks().join(format!("{SPARE}{slot}"))
    }

    /// Makes a disk for whichever sandbox will have `slot`. If it fails, nothing is left.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn make_spare(&self, slot: u32) -> Result<()> {
        let path = self.spare(slot);
        self.create(&path)?;
        let parts = ["upper", "work"];
        let filled = parts
            .iter()
            .try_for_each(|part| self.kernel.create_dir(&path.join(part), 0o755));
        if filled.is_err() {
            self.remove(&path)?;
        }
        filled
    }

    /// Removes the spare of `slot`; that there is none is no error.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn remove_spare(&self, slot: u32) -> Result<()> {
        self.remove(&self.spare(slot))
    }

    /// Makes the spare of `slot` the disk of `sandbox`. If it fails, the spare may be gone.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn claim_spare(
        &self,
        slot: u32,
        sandbox: &SandboxId,
        layers: &[LayerId],
        bytes: u64,
    ) -> Result<PathBuf> {
        let disk = self.disk(sandbox);
        let spare = self.spare(slot);
        let list: Vec<&str> = layers.iter().map(LayerId::as_str).collect();
        self.kernel
            .replace(&spare.join(LAYERS), list.join("\n").as_bytes())?;
        if self.kind == PoolKind::Btrfs {
            self.kernel.limit_subvolume(&spare, bytes)?;
        }
        self.kernel.rename(&spare, &disk)?;
        Ok(disk)
    }

    /// Removes the disk of `sandbox`; that there is none is no error.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn remove_disk(&self, sandbox: &SandboxId) -> Result<()> {
        self.remove(&self.disk(sandbox))
    }

    /// Bytes in the writable layer; on btrfs as of the last transaction.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn usage(&self, sandbox: &SandboxId) -> Result<u64> {
        let disk = self.disk(sandbox);
        match self.kind {
            PoolKind::Btrfs => self.kernel.subvolume_referenced(&disk),
            PoolKind::Plain => self.kernel.measure_tree(&disk.join("upper")),
        }
    }

    /// Every sandbox that has a disk, with the layers below it.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn disks_found(&self) -> Result<Vec<(SandboxId, Vec<LayerId>)>> {
        let names = self.kernel.list(&self.disks())?;
        let ids = names.iter().filter_map(|name| SandboxId::parse(name).ok());
        ids.map(|id| {
            let file = self.disk(&id).join(LAYERS);
            let text = match self.kernel.exists(&file) {
                true => self.kernel.read(&file)?,
                false => String::new(),
            };
            let layers = text.lines().filter_map(|line| LayerId::parse(line).ok());
            Ok((id, layers.collect()))
        })
        .collect()
    }

    /// Removes all spares: those of a launcher that is no more.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn remove_all_spares(&self) -> Result<()> {
        for name in self.kernel.list(&self.disks())? {
            if name.starts_with(SPARE) {
                self.remove(&self.disks().join(name))?;
            }
        }
        Ok(())
    }

    /// Makes a directory that can be removed and limited as one thing.
    pub(crate) fn create(&self, path: &Path) -> Result<()> {
        match self.kind {
            PoolKind::Btrfs => self.kernel.create_subvolume(path),
            PoolKind::Plain => self.kernel.create_dir(path, 0o755),
        }
    }

    /// Removes what [`Self::create`] made; that there is none is no error.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        match self.kind {
            PoolKind::Plain => self.kernel.remove_tree(path),
            PoolKind::Btrfs => {
                if let Some(subvolume) = self.kernel.destroy_subvolume(path)? {
                    self.forget_group_later(subvolume);
                }
                Ok(())
            }
        }
    }

    fn forget_group_later(&self, subvolume: u64) {
        self.stale_groups
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(subvolume);
    }

    /// Removes quota groups of subvolumes that have gone. The kernel permits it only once it has
    /// removed the subvolume in its own time; what is not yet possible is tried at the next call.
    pub(crate) fn sweep_groups(&self) {
        let lock = || {
            self.stale_groups
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        let groups = std::mem::take(&mut *lock());
        let keep = |group: &u64| match self.kernel.remove_quota_group(&self.path, *group) {
            Ok(gone) => !gone,
            Err(error) => {
                report(*group, &error);
                false
            }
        };
        let left: Vec<u64> = groups.into_iter().filter(keep).collect();
        lock().extend(left);
    }
}

/// It costs a few hundred bytes in the pool and is found again at the next start.
fn report(group: u64, error: &KernelError) {
    tracing::warn!(group, %error, "quota group can't be removed");
}
