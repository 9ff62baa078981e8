//! The root file system of a sandbox: an overlay of idmapped clones of its layers and its disk.

use super::raw::{change_mount, set_thread_fs_owner, MountChange, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, open_tree, FsMountFlags, FsOpenFlags,
    MountAttrFlags, OpenTreeFlags,
};
use rustix::thread::{capabilities, set_capabilities, CapabilitySets};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The kernel takes no option value longer than this (fsconfig copies 256 bytes with the zero).
const LONGEST_OPTION: usize = 255;

/// Mounts `layers` (topmost first) with the writable `disk` (holding `upper` and `work`) on top,
/// owners shown as `users` maps them, whose uid 0 is `owner`. The mount is attached nowhere.
pub(crate) fn mount(
    layers: &[impl AsRef<Path>],
    disk: &Path,
    users: BorrowedFd<'_>,
    owner: u32,
) -> Result<OwnedFd> {
    let lower = layers
        .iter()
        .map(|layer| clone_mapped(layer.as_ref(), users, libc::MOUNT_ATTR_RDONLY))
        .collect::<Result<Vec<_>>>()?;
    let disk = clone_mapped(disk, users, 0)?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "wardian")?;
    set_lower(&context, &lower)?;
    fsconfig_set_string(&context, "upperdir", inside(&disk, "/upper"))?;
    fsconfig_set_string(&context, "workdir", inside(&disk, "/work"))?;
    // Directories of the image can be renamed, as package managers do.
    fsconfig_set_string(&context, "redirect_dir", "on")?;
    as_owner(owner, || fsconfig_create(&context))?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn clone_mapped(path: &Path, users: BorrowedFd<'_>, set: u64) -> Result<OwnedFd> {
    let clone = clone_tree(path)?;
    let idmap = Some(users);
    change_mount(&clone, MountChange { set, idmap })?;
    Ok(clone)
}

/// A mount of what lies at `path`, attached nowhere.
pub(crate) fn clone_tree(path: &Path) -> Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags | OpenTreeFlags::AT_SYMLINK_NOFOLLOW)
}

fn inside(fd: &OwnedFd, rest: &str) -> String {
    format!("/proc/self/fd/{}{rest}", fd.as_raw_fd())
}

/// Linux 6.5 takes layers one by one; before that they share one option, which then is too short
/// for more than some fourteen.
fn set_lower(context: &OwnedFd, lower: &[OwnedFd]) -> Result<()> {
    for (index, layer) in lower.iter().enumerate() {
        match fsconfig_set_string(context, "lowerdir+", inside(layer, "")) {
            Ok(()) => {}
            Err(Errno::INVAL) if index == 0 => return set_lower_at_once(context, lower),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn set_lower_at_once(context: &OwnedFd, lower: &[OwnedFd]) -> Result<()> {
    let list: Vec<String> = lower.iter().map(|layer| inside(layer, "")).collect();
    let list = list.join(":");
    if list.len() > LONGEST_OPTION {
        return Err(Errno::TOOBIG);
    }
    fsconfig_set_string(context, "lowerdir", list)
}

/// Runs `action` with the file-system owner that maps to uid 0 in the idmapped clones. Overlay
/// makes its work directory as whoever mounts it; an owner the map does not know can't (EOVERFLOW),
/// and the mount then is read-only without a word. Changing the owner takes this thread's
/// file-system capabilities away, so they are raised again.
fn as_owner<T>(owner: u32, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = capabilities(None)?;
    let changed = set_thread_fs_owner(owner, owner).and_then(|()| raise(before));
    let result = changed.and_then(|()| action());
    // The thread serves other requests next: it must not go on as somebody else.
    set_thread_fs_owner(0, 0).and_then(|()| raise(before))?;
    result
}

fn raise(sets: CapabilitySets) -> Result<()> {
    set_capabilities(None, sets)
}

/// A read-only mount of the program at `path`, to exec from: it has no path inside a sandbox.
pub(crate) fn program(path: &Path) -> Result<OwnedFd> {
    let clone = clone_tree(path)?;
    let set = libc::MOUNT_ATTR_RDONLY;
    change_mount(clone.as_fd(), MountChange { set, idmap: None })?;
    Ok(clone)
}
