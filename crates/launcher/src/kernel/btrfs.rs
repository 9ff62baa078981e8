//! Subvolumes and quota groups of btrfs, by the ioctls of `linux/btrfs.h` and `btrfs_tree.h`.
#![allow(unsafe_code)]

use super::raw::{ioctl, Result};
use rustix::fs::{openat, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

const fn request(direction: u64, number: u64, size: usize) -> u64 {
    const MAGIC: u64 = 0x94;
    direction << 30 | (size as u64) << 16 | MAGIC << 8 | number
}
const WRITE: u64 = 1;
const READ: u64 = 2;

#[repr(C)]
struct Name {
    fd: i64,
    name: [u8; 4088],
}

#[repr(C)]
struct Lookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

#[repr(C)]
struct Limit {
    group: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved: [u64; 2],
}

#[repr(C)]
struct GroupCreate {
    create: u64,
    group: u64,
}

#[repr(C)]
struct QuotaControl {
    command: u64,
    status: u64,
}

#[repr(C)]
#[derive(Clone)]
struct SearchKey {
    tree: u64,
    min_object: u64,
    max_object: u64,
    min_offset: u64,
    max_offset: u64,
    min_transaction: u64,
    max_transaction: u64,
    min_type: u32,
    max_type: u32,
    items: u32,
    unused: [u32; 9],
}

const SEARCH_BUFFER: usize = 4096 - size_of::<SearchKey>();

#[repr(C)]
struct Search {
    key: SearchKey,
    buffer: [u8; SEARCH_BUFFER],
}

const _: () = assert!(size_of::<Name>() == 4096 && size_of::<Lookup>() == 4096);
const _: () = assert!(size_of::<SearchKey>() == 104 && size_of::<Search>() == 4096);

const ROOT_TREE: u64 = 1;
const QUOTA_TREE: u64 = 8;
const ROOT_ITEM: u32 = 132;
const GROUP_INFO: u32 = 242;

fn named(name: &str) -> Result<Box<Name>> {
    let mut argument = Box::new(Name {
        fd: 0,
        name: [0; 4088],
    });
    if name.is_empty() || name.len() > 255 || name.contains('/') {
        return Err(Errno::INVAL);
    }
    argument.name[..name.len()].copy_from_slice(name.as_bytes());
    Ok(argument)
}

fn split(path: &Path) -> Result<(File, &str)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL);
    };
    Ok((open(parent)?, name.to_str().ok_or(Errno::INVAL)?))
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(rustix::fs::CWD, path, flags, Mode::empty())?.into())
}

/// Makes an empty subvolume.
pub(crate) fn create_subvolume(path: &Path) -> Result<()> {
    let (parent, name) = split(path)?;
    // SAFETY: BTRFS_IOC_SUBVOL_CREATE reads a btrfs_ioctl_vol_args.
    unsafe { ioctl(parent, request(WRITE, 14, 4096), &mut *named(name)?) }?;
    Ok(())
}

/// Removes a subvolume with all it holds; the space comes back later.
pub(crate) fn destroy_subvolume(path: &Path) -> Result<()> {
    let (parent, name) = split(path)?;
    // SAFETY: BTRFS_IOC_SNAP_DESTROY reads a btrfs_ioctl_vol_args.
    unsafe { ioctl(parent, request(WRITE, 15, 4096), &mut *named(name)?) }?;
    Ok(())
}

/// The number of the subvolume that holds `path`.
pub(crate) fn subvolume_number(path: &Path) -> Result<u64> {
    let mut lookup = Box::new(Lookup {
        tree: 0, // that of the directory
        object: 256,
        name: [0; 4080],
    });
    // SAFETY: BTRFS_IOC_INO_LOOKUP reads and writes a btrfs_ioctl_ino_lookup_args.
    unsafe { ioctl(open(path)?, request(READ | WRITE, 18, 4096), &mut *lookup) }?;
    Ok(lookup.tree)
}

/// Limits how much may be referenced by the subvolume at `path`, in bytes.
pub(crate) fn limit(path: &Path, bytes: u64) -> Result<()> {
    const MAX_REFERENCED: u64 = 1;
    let mut limit = Limit {
        group: 0, // that of the subvolume the descriptor is in
        flags: MAX_REFERENCED,
        max_referenced: bytes,
        max_exclusive: 0,
        reserved: [0; 2],
    };
    // SAFETY: BTRFS_IOC_QGROUP_LIMIT reads a btrfs_ioctl_qgroup_limit_args.
    unsafe {
        ioctl(
            open(path)?,
            request(READ, 43, size_of::<Limit>()),
            &mut limit,
        )
    }?;
    Ok(())
}

/// Removes the quota group of a subvolume that is gone.
///
/// # Errors
/// `EBUSY` while the kernel is still removing the subvolume, `ENOENT` if it is gone already.
pub(crate) fn remove_group(pool: &Path, subvolume: u64) -> Result<()> {
    let mut argument = GroupCreate {
        create: 0,
        group: subvolume,
    };
    let number = request(WRITE, 42, size_of::<GroupCreate>());
    // SAFETY: BTRFS_IOC_QGROUP_CREATE reads a btrfs_ioctl_qgroup_create_args.
    unsafe { ioctl(open(pool)?, number, &mut argument) }?;
    Ok(())
}

/// Turns quota on and waits until it counts.
pub(crate) fn enable_quota(pool: &Path) -> Result<()> {
    let pool = open(pool)?;
    let mut control = QuotaControl {
        command: 1,
        status: 0,
    };
    let number = request(READ | WRITE, 40, size_of::<QuotaControl>());
    // SAFETY: BTRFS_IOC_QUOTA_CTL reads and writes a btrfs_ioctl_quota_ctl_args.
    match unsafe { ioctl(&pool, number, &mut control) } {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    // SAFETY: BTRFS_IOC_QUOTA_RESCAN_WAIT takes no argument.
    unsafe { ioctl(&pool, request(0, 46, 0), &mut 0_u64) }?;
    Ok(())
}

/// Bytes referenced by the subvolume at `path`, as of the last transaction (at most 30 s ago).
pub(crate) fn referenced(path: &Path) -> Result<u64> {
    let number = subvolume_number(path)?;
    let mut found = None;
    let key = search_key(QUOTA_TREE, GROUP_INFO, 0, number, number);
    // The item is a btrfs_qgroup_info_item: generation, referenced, …
    search(open(path)?, key, |_, item| {
        found = item
            .get(8..16)
            .and_then(|b| b.try_into().ok())
            .map(u64::from_le_bytes);
    })?;
    found.ok_or(Errno::NOENT)
}

/// Quota groups of subvolumes that no longer are.
pub(crate) fn stale_groups(pool: &Path) -> Result<Vec<u64>> {
    let pool = open(pool)?;
    let mut groups = Vec::new();
    let last = (1 << 48) - 1;
    search(
        &pool,
        search_key(QUOTA_TREE, GROUP_INFO, 0, 256, last),
        |header, _| {
            groups.push(header.offset);
        },
    )?;
    let mut stale = Vec::new();
    for group in groups {
        let mut alive = false;
        let mut key = search_key(ROOT_TREE, ROOT_ITEM, group, 0, u64::MAX);
        key.max_object = group;
        search(&pool, key, |_, _| alive = true)?;
        if !alive {
            stale.push(group);
        }
    }
    Ok(stale)
}

fn search_key(tree: u64, kind: u32, object: u64, min: u64, max: u64) -> SearchKey {
    SearchKey {
        tree,
        min_object: object,
        max_object: object,
        min_offset: min,
        max_offset: max,
        min_transaction: 0,
        max_transaction: u64::MAX,
        min_type: kind,
        max_type: kind,
        items: u32::MAX,
        unused: [0; 9],
    }
}

struct Header {
    offset: u64,
}

/// Calls `each` with every item between the keys, of which object and type are the same.
fn search(fd: impl AsFd, mut key: SearchKey, mut each: impl FnMut(&Header, &[u8])) -> Result<()> {
    const HEADER: usize = 32;
    loop {
        let mut search = Box::new(Search {
            key: key.clone(),
            buffer: [0; SEARCH_BUFFER],
        });
        // SAFETY: BTRFS_IOC_TREE_SEARCH reads and writes a btrfs_ioctl_search_args.
        unsafe { ioctl(&fd, request(READ | WRITE, 17, 4096), &mut *search) }?;
        let mut rest = &search.buffer[..];
        let mut last = None;
        for _ in 0..search.key.items {
            let (Some(header), Some(length)) = (rest.get(..HEADER), rest.get(28..HEADER)) else {
                break;
            };
            let offset = u64::from_ne_bytes(header[16..24].try_into().unwrap_or_default());
            let length = u32::from_ne_bytes(length.try_into().unwrap_or_default()) as usize;
            let Some(item) = rest.get(HEADER..HEADER + length) else {
                break;
            };
            each(&Header { offset }, item);
            last = Some(offset);
            rest = &rest[HEADER + length..];
        }
        match last {
            Some(last) if last < key.max_offset => key.min_offset = last + 1,
            _ => return Ok(()),
        }
    }
}
