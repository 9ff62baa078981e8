//! What a sandbox sees as its file system: the overlay, and /proc, /sys and /dev made minimal.

use super::{Explain, Outcome};
use rustix::fs::{Mode, OFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, unmount,
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;

const SAFE: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// What a tree without files has.
const KEPT: [&str; 3] = ["proc", "sys", "dev"];
/// Where in it the sandbox's root is attached before it takes over.
const WAITING_ROOM: &str = "/root";

/// Devices of the host that every program expects and none can do harm with.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

/// Tell about the host, or reach into its kernel.
const HIDDEN: &[&str] = &[
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
    "sys/kernel/notes",
    "sys/kernel/vmcoreinfo",
];

/// Settings of kernel and devices: may be read, as programs do.
const READ_ONLY: &[&str] = &[
    "proc/bus",
    "proc/fs",
    "proc/irq",
    "proc/sys",
    "proc/sysrq-trigger",
];

/// Swaps the host's tree, in a mount namespace that must be this process's own, for one that holds
/// only /proc, /sys and /dev. A process that waits so pins no mount of the host (which else could
/// not be unmounted for good), and what it becomes has never had the host's files in its namespace.
pub(super) fn leave_host() -> Outcome<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).explain("make mounts private")?;
    let clones = KEPT.map(|name| clone_of(&format!("/{name}")));
    let root = make("tmpfs", &[("mode", "0755"), ("size", "65536")], SAFE)?;
    attach(&root, "/proc")?;
    rustix::process::fchdir(&root).explain("enter the new root")?;
    for (clone, name) in clones.into_iter().zip(KEPT) {
        place(clone?, name)?;
    }
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(CWD, WAITING_ROOM.trim_start_matches('/'), mode)
        .explain("make a place for the root")?;
    pivot(&root)
}

/// Mounts over /proc, /sys and /dev what a sandbox will see there: all that does not depend on which
/// sandbox it will be.
pub(super) fn dress() -> Outcome<()> {
    let null = clone_of("/dev/null")?;
    let devices: Vec<(&str, OwnedFd)> = DEVICES
        .iter()
        .map(|name| Ok((*name, clone_of(&format!("/dev/{name}"))?)))
        .collect::<Outcome<_>>()?;
    // Made while the host's own are still to be seen: the kernel wants to know that a user
    // namespace is not shown more of them than before.
    let proc = make("proc", &[], SAFE)?;
    let sys = make("sysfs", &[], SAFE | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    place(&proc, "proc")?;
    place(&sys, "sys")?;
    make_dev(&devices)?;
    hide(&null)
}

/// Makes `root` this process's root and moves there what [`dress`] has made; nothing of the host's
/// tree stays reachable.
pub(super) fn enter(root: &OwnedFd, shared_memory_bytes: u64) -> Outcome<()> {
    attach(root, WAITING_ROOM)?;
    rustix::process::fchdir(root).explain("enter the root")?;
    for name in KEPT {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mount = rustix::fs::open(format!("/{name}"), flags, Mode::empty());
        place(mount.explain(format_args!("open /{name}"))?, name)?;
    }
    let size = shared_memory_bytes.to_string();
    let options = [("mode", "01777"), ("size", size.as_str())];
    place(make("tmpfs", &options, SAFE)?, "dev/shm")?;
    pivot(root)
}

fn clone_of(path: &str) -> Outcome<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).explain(format_args!("clone {path}"))
}

fn attach(mount: &OwnedFd, to: &str) -> Outcome<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", CWD, to, flags).explain(format_args!("mount at {to}"))
}

fn make(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> Outcome<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).explain(format_args!("open {kind}"))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)
            .explain(format_args!("{kind} {key}={value}"))?;
    }
    fsconfig_create(&context).explain(format_args!("make {kind}"))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .explain(format_args!("mount {kind}"))
}

/// Mounts on the directory `name` of the image, which is made if missing. A link there is refused:
/// the image must not choose where the mount lands.
fn place(mount: impl AsFd, name: &str) -> Outcome<()> {
    match rustix::fs::mkdirat(CWD, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(format!("make /{name}: {error}")),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(CWD, name, flags, Mode::empty())
        .explain(format_args!("/{name} of the template is no directory"))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", place, "", flags).explain(format_args!("mount at /{name}"))
}

fn make_dev(devices: &[(&str, OwnedFd)]) -> Outcome<()> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = make("tmpfs", &[("mode", "0755"), ("size", "65536")], quiet)?;
    place(&dev, "dev")?;
    for (name, device) in devices {
        let path = format!("dev/{name}");
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &path, flags, Mode::from_raw_mode(0o666))
            .explain(format_args!("make /{path}"))?;
        attach(device, &path)?;
    }
    for (target, name) in LINKS {
        symlink(target, format!("dev/{name}")).explain(format_args!("link /dev/{name}"))?;
    }
    let terminals = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    place(make("devpts", &terminals, quiet)?, "dev/pts")?;
    // A kernel may have been built without message queues.
    if std::path::Path::new("/proc/sys/fs/mqueue").exists() {
        place(make("mqueue", &[], SAFE)?, "dev/mqueue")?;
    }
    Ok(())
}

/// Covers what must not be seen and takes the writing from what must not be changed.
fn hide(null: &OwnedFd) -> Outcome<()> {
    let options = [("mode", "0755"), ("size", "0"), ("nr_inodes", "1")];
    let empty = make("tmpfs", &options, SAFE | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    for path in HIDDEN {
        match rustix::fs::statat(CWD, *path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(format!("look at /{path}: {error}")),
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => {
                attach(&copy_of(&empty)?, path)?;
            }
            Ok(_) => attach(&copy_of(null)?, path)?,
        }
    }
    for path in READ_ONLY {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let clone = match rustix::mount::open_tree(CWD, *path, flags) {
            Err(Errno::NOENT) => continue,
            result => result.explain(format_args!("clone /{path}"))?,
        };
        let set = libc::MOUNT_ATTR_RDONLY;
        let change = crate::kernel::raw::MountChange { set, idmap: None };
        crate::kernel::raw::change_mount(&clone, change)
            .explain(format_args!("make /{path} read-only"))?;
        attach(&clone, path)?;
    }
    Ok(())
}

/// Another mount of what a detached mount shows.
fn copy_of(mount: &OwnedFd) -> Outcome<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(mount, "", flags).explain("clone a cover")
}

fn pivot(root: &OwnedFd) -> Outcome<()> {
    // Old and new root stacked at one place: then the old one can be taken from below.
    rustix::process::pivot_root(".", ".").explain("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).explain("leave the host's tree")?;
    rustix::process::chdir("/").explain("enter /")?;
    let here = rustix::fs::stat("/").explain("look at /")?;
    let there = rustix::fs::fstat(root).explain("look at the root")?;
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino) {
        return Err("pivot_root: / is not the sandbox's root".to_owned());
    }
    Ok(())
}
