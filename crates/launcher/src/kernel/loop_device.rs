//! Loop devices, by the ioctls of `linux/loop.h`.
#![allow(unsafe_code)]

use super::raw::{check, ioctl, Result};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOOP_CONFIGURE: u64 = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82 as libc::Ioctl;
/// The device is given back when its last user closes it, also after a crash.
const AUTOCLEAR: u32 = 4;
/// Reads and writes go past the host's page cache: the pool's file system caches already.
const DIRECT_IO: u32 = 16;
const ATTEMPTS: u32 = 16;

#[repr(C)]
struct Info {
    numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
}

#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A loop device; it goes when this and every mount of it are gone.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    pub(crate) path: PathBuf,
    _file: File,
}

/// Makes `image` a block device.
///
/// # Errors
/// Those of opening it and of the ioctls.
pub(crate) fn attach(image: &Path) -> Result<LoopDevice> {
    let backing = open(image)?;
    let control = open(Path::new("/dev/loop-control"))?;
    for _ in 0..ATTEMPTS {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number = check(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) }.into())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        make_node(&path, number)?;
        let file = open(&path)?;
        for flags in [AUTOCLEAR | DIRECT_IO, AUTOCLEAR] {
            match configure(&file, &backing, flags) {
                Ok(()) => return Ok(LoopDevice { path, _file: file }),
                Err(Errno::INVAL) => {}
                // Somebody else took it between the two calls.
                Err(Errno::BUSY) => break,
                Err(error) => return Err(error),
            }
        }
    }
    Err(Errno::BUSY)
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(path)
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// In a container /dev is not the kernel's own: a device made on demand has no node there.
fn make_node(path: &Path, number: libc::c_long) -> Result<()> {
    const LOOP_MAJOR: u32 = 7;
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_block_device() => return Ok(()),
        Ok(_) => return Err(Errno::NOTBLK),
        Err(_) => {}
    }
    let minor = u32::try_from(number).map_err(|_| Errno::RANGE)?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::BlockDevice,
        rustix::fs::Mode::from_raw_mode(0o600),
        rustix::fs::makedev(LOOP_MAJOR, minor),
    )
}

fn configure(device: &File, backing: &File, flags: u32) -> Result<()> {
    let mut config = Config {
        fd: u32::try_from(backing.as_fd().as_raw_fd()).map_err(|_| Errno::BADF)?,
        block_size: 0,
        info: Info {
            numbers: [0; 5],
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            names: [0; 160],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads a loop_config, whose layout `Config` repeats.
    unsafe { ioctl(device, LOOP_CONFIGURE, &mut config) }?;
    Ok(())
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);
