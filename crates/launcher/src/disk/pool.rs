//! The file system that holds layers and disks.

use super::device;
use crate::kernel::{btrfs, loop_device, Kernel, KernelError, Result};
use rustix::io::Errno;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use wardian_wire::node::{self, PoolKind};

/// The device's image is preallocated: discarding would make holes in it, and a host that is full
/// could then no longer take writes that a sandbox was told were done.
const OPTIONS: &std::ffi::CStr = c"nodiscard";

/// A pool in use.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) kernel: Arc<dyn Kernel>,
    pub(crate) path: PathBuf,
    pub(crate) kind: PoolKind,
    /// Quota groups to remove.
    pub(super) stale_groups: Mutex<Vec<u64>>,
}

impl Pool {
    /// The pool at `path`, which is mounted.
    pub(crate) fn new(kernel: Arc<dyn Kernel>, path: PathBuf, kind: PoolKind) -> Self {
        Self {
            kernel,
            path,
            kind,
            stale_groups: Mutex::default(),
        }
    }

    /// Mounts the pool if it has an image and is not mounted, and removes what a launcher that
    /// died left half-made.
    ///
    /// # Errors
    /// Those of the calls.
    pub(crate) fn open(kernel: Arc<dyn Kernel>, config: &node::Pool) -> Result<Self> {
        if let Some(image) = &config.image {
            if device::mounted(&config.path)?.is_none() {
                mount_image(image, &config.path)?;
            }
        }
        let pool = Self::new(kernel, config.path.clone(), config.kind);
        for directory in [pool.disks(), pool.layers()] {
            if !pool.kernel.exists(&directory) {
                pool.kernel.create_dir(&directory, 0o700)?;
            }
        }
        if pool.kind == PoolKind::Btrfs {
            let at = |call, errno| KernelError::new(call, pool.path.display().to_string(), errno);
            btrfs::enable_quota(&pool.path).map_err(|e| at("enable quota on", e))?;
            let stale = btrfs::stale_groups(&pool.path).map_err(|e| at("read quota of", e))?;
            *pool
                .stale_groups
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = stale;
        }
        pool.remove_all_spares()?;
        pool.remove_half_made_layers()?;
        Ok(pool)
    }

    /// Whether disks can be limited in size.
    pub(crate) fn has_limits(&self) -> bool {
        self.kind == PoolKind::Btrfs
    }

    /// Bytes in all and bytes free.
    ///
    /// # Errors
    /// Those of `statvfs`.
    pub(crate) fn space(&self) -> Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(&self.path)
            .map_err(|e| KernelError::new("statvfs", self.path.display().to_string(), e))?;
        Ok((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
    }

    /// Unmounts a pool that has an image; its loop device goes with it.
    ///
    /// # Errors
    /// `EBUSY` if something is open in it.
    pub(crate) fn close(config: &node::Pool) -> Result<()> {
        if config.image.is_none() {
            return Ok(());
        }
        match unmount(&config.path, UnmountFlags::empty()) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(e) => Err(KernelError::new(
                "unmount",
                config.path.display().to_string(),
                e,
            )),
        }
    }
}

fn mount_image(image: &Path, at: &Path) -> Result<()> {
    let object = || format!("{} at {}", image.display(), at.display());
    let device = loop_device::attach(image)
        .map_err(|e| KernelError::new("attach loop device to", image.display().to_string(), e))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    mount(&device.path, at, "btrfs", flags, OPTIONS)
        .map_err(|e| KernelError::new("mount", object(), e))
}
