//! Removing and measuring directories that somebody hostile has filled: no link is followed, no
//! mount is entered, depth costs neither stack nor descriptors, and nothing is read.

use super::raw::Result;
use rustix::fs::{
    openat2, renameat_with, statat, unlinkat, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags,
    ResolveFlags, CWD,
};
use rustix::io::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Deeper directories are moved up to the top first.
const DEEPEST: usize = 64;

fn open(parent: impl AsFd, name: impl rustix::path::Arg, resolve: ResolveFlags) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(parent, name, flags, Mode::empty(), resolve)
}

fn open_below(parent: impl AsFd, name: &CString) -> Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    open(parent, name.as_c_str(), resolve)
}

/// Names in a directory and whether each is a directory.
fn entries(directory: impl AsFd) -> Result<Vec<(CString, bool)>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&directory)? {
        let entry = entry?;
        let name = entry.file_name().to_owned();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = statat(&directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        names.push((name, kind == FileType::Directory));
    }
    Ok(names)
}

/// Removes the directory at `path` and all below it; that there is none is no error.
///
/// # Errors
/// Those of the calls; `EXDEV` if something is mounted below.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let top = match open(CWD, path, ResolveFlags::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut moved = 0_u64;
    // Each round flattens what was too deep in the one before.
    loop {
        let found = entries(&top)?;
        if found.is_empty() {
            break;
        }
        for (name, is_directory) in found {
            remove_entry(&top, &top, &name, is_directory, 0, &mut moved)?;
        }
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn remove_entry(
    top: &OwnedFd,
    parent: &OwnedFd,
    name: &CString,
    is_directory: bool,
    depth: usize,
    moved: &mut u64,
) -> Result<()> {
    if !is_directory {
        return unlinkat(parent, name.as_c_str(), AtFlags::empty());
    }
    if depth >= DEEPEST {
        loop {
            let flat = format!(".wardian-flat-{moved}");
            *moved += 1;
            match renameat_with(parent, name.as_c_str(), top, flat, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                result => return result,
            }
        }
    }
    let directory = open_below(parent, name)?;
    for (inner, inner_is_directory) in entries(&directory)? {
        remove_entry(
            top,
            &directory,
            &inner,
            inner_is_directory,
            depth + 1,
            moved,
        )?;
    }
    unlinkat(parent, name.as_c_str(), AtFlags::REMOVEDIR)
}

/// Bytes that the files below `path` occupy, as far as [`DEEPEST`] levels and one device reach.
pub(crate) fn measure(path: &Path) -> Result<u64> {
    fn below(directory: &OwnedFd, depth: usize) -> Result<u64> {
        let mut bytes = 0;
        for (name, is_directory) in entries(directory)? {
            match statat(directory, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512,
                // Files come and go while a sandbox runs.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            }
            if is_directory && depth < DEEPEST {
                match open_below(directory, &name) {
                    Ok(inner) => bytes += below(&inner, depth + 1)?,
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(bytes)
    }
    below(&open(CWD, path, ResolveFlags::empty())?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_deep_trees_and_follows_no_link() {
        let base = std::env::temp_dir().join(format!("wardian-tree-{}", std::process::id()));
        let keep = base.join("keep");
        std::fs::create_dir_all(&keep).unwrap();
        std::fs::write(keep.join("file"), "x").unwrap();
        let victim = base.join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::os::unix::fs::symlink(&keep, victim.join("link")).unwrap();
        // Deeper than PATH_MAX can say.
        let mut at = open(CWD, &victim, ResolveFlags::empty()).unwrap();
        for _ in 0..600 {
            rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, ".wardian-flat-0", Mode::RWXU).unwrap();
            at = open_below(&at, &c"deeper".to_owned()).unwrap();
        }
        remove(&victim).unwrap();
        assert!(!victim.exists());
        assert_eq!(std::fs::read(keep.join("file")).unwrap(), b"x");
        remove(&victim).unwrap();
        std::fs::write(keep.join("large"), vec![1; 100_000]).unwrap();
        assert!(measure(&keep).unwrap() >= 100_000);
        remove(&base).unwrap();
    }
}
