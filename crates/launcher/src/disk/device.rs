//! Which block device a directory lies on.

use crate::cgroup::hierarchies::unescape;
use crate::kernel::{KernelError, Result};
use rustix::io::Errno;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

fn mounts() -> Result<String> {
    let path = "/proc/self/mountinfo";
    std::fs::read_to_string(path)
        .map_err(|e| KernelError::new("read", path, Errno::from_io_error(&e).unwrap_or(Errno::IO)))
}

/// Mount point and source of each mount.
fn parse(mountinfo: &str) -> impl Iterator<Item = (PathBuf, PathBuf)> + '_ {
    mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let place = unescape(left.split(' ').nth(4)?);
        let source = unescape(right.split(' ').nth(1)?);
        Some((place.into(), source.into()))
    })
}

/// What is mounted exactly at `path`, if anything is.
///
/// # Errors
/// If the table of mounts can't be read.
pub(crate) fn mounted(path: &Path) -> Result<Option<PathBuf>> {
    let mounts = mounts()?;
    let found = parse(&mounts).filter(|(place, _)| place == path).last();
    Ok(found.map(|(_, source)| source))
}

/// `major:minor` of the whole disk below `path`, as block I/O limits want it.
///
/// # Errors
/// `ENODEV` if it lies on no single block device.
pub(crate) fn backing(path: &Path) -> Result<String> {
    let none = || {
        KernelError::new(
            "find block device of",
            path.display().to_string(),
            Errno::NODEV,
        )
    };
    let mounts = mounts()?;
    let covering = parse(&mounts).filter(|(place, _)| path.starts_with(place));
    // The longest mount point covers the others; of equals the later one.
    let (_, source) = covering
        .max_by_key(|(place, _)| place.as_os_str().len())
        .ok_or_else(none)?;
    let device = std::fs::metadata(source).map_err(|_| none())?;
    if !device.file_type().is_block_device() {
        return Err(none());
    }
    let number = device.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let own = format!("{major}:{minor}");
    let sys = PathBuf::from(format!("/sys/dev/block/{own}"));
    if !sys.join("partition").exists() {
        return Ok(own);
    }
    let disk = std::fs::read_to_string(sys.join("../dev")).map_err(|_| none())?;
    Ok(disk.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_places_and_sources() {
        let text = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            50 27 0:44 / /var/lib/my\\040pool rw shared:1 - btrfs /dev/loop3 rw\n";
        let found: Vec<_> = parse(text).collect();
        assert_eq!(found[1], ("/var/lib/my pool".into(), "/dev/loop3".into()));
    }
}
