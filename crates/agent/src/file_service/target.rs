//! The directory an archive is unpacked in. Whatever the archive holds, and whatever is changed
//! there meanwhile, nothing is made outside: each path is opened by the kernel below the
//! directory, through no link (`openat2`).

use crate::users::User;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A directory and the way to what is below it.
#[derive(Debug)]
pub(super) struct Target {
    top: OwnedFd,
    user: User,
    /// The directory used last: archives list one after another.
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Target {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(path: &Path, user: User) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            top: rustix::fs::open(path, flags, Mode::empty())?,
            user,
            last: None,
        })
    }

    /// The directory that `parts` name; what is missing is made.
    fn directory(&mut self, parts: &[&[u8]]) -> io::Result<BorrowedFd<'_>> {
        let path = parts.join(&b'/');
        if path.is_empty() {
            return Ok(self.top.as_fd());
        }
        if self.last.as_ref().is_none_or(|(last, _)| *last != path) {
            let directory = match self.below(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.make(parts)?;
                    self.below(&path)?
                }
                outcome => outcome?,
            };
            self.last = Some((path, directory));
        }
        let last = self.last.as_ref().map(|(_, directory)| directory.as_fd());
        last.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn below(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(
            &self.top,
            path,
            flags,
            Mode::empty(),
            resolve,
        )?)
    }

    fn make(&self, parts: &[&[u8]]) -> io::Result<()> {
        for length in 1..=parts.len() {
            let (name, above) = match parts.get(..length).and_then(<[&[u8]]>::split_last) {
                Some((name, above)) => (*name, above.join(&b'/')),
                None => return Ok(()),
            };
            let above = if above.is_empty() {
                self.top.try_clone()?
            } else {
                self.below(&above)?
            };
            match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
                Ok(()) => self.give(above.as_fd(), name)?,
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn give(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.user.uid), Gid::from_raw(self.user.gid));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chownat(
            directory,
            name,
            Some(uid),
            Some(gid),
            flags,
        )?)
    }

    /// Makes a directory, or takes one that is there.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn make_directory(&mut self, parts: &[&[u8]], mode: u32) -> io::Result<()> {
        let Some((name, above)) = parts.split_last() else {
            return Ok(());
        };
        self.directory(parts)?;
        let above = self.directory(above)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(above, *name, flags, Mode::empty())?;
        Ok(rustix::fs::fchmod(
            directory,
            Mode::from_raw_mode(mode & 0o1777),
        )?)
    }

    /// Sets when a directory was changed.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn date_directory(&mut self, path: &[u8], modified: (i64, u32)) -> io::Result<()> {
        let parts: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
        let Some((name, above)) = parts.split_last() else {
            return Ok(());
        };
        let above = self.directory(above)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(
            above,
            *name,
            &times(modified),
            flags,
        )?)
    }

    /// Begins a file; what was there is removed, unless it is a directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn create(&mut self, parts: &[&[u8]]) -> io::Result<File> {
        let (uid, gid) = (Uid::from_raw(self.user.uid), Gid::from_raw(self.user.gid));
        let (directory, name) = self.place(parts)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))?;
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
        Ok(file.into())
    }

    /// Makes a link.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn link(
        &mut self,
        parts: &[&[u8]],
        target: &[u8],
        modified: (i64, u32),
    ) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.user.uid), Gid::from_raw(self.user.gid));
        let (directory, name) = self.place(parts)?;
        rustix::fs::symlinkat(target, directory, name)?;
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(directory, name, Some(uid), Some(gid), flags)?;
        Ok(rustix::fs::utimensat(
            directory,
            name,
            &times(modified),
            flags,
        )?)
    }

    /// Makes another name for a file below the directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn hard_link(&mut self, parts: &[&[u8]], source: &[&[u8]]) -> io::Result<()> {
        if parts == source {
            return Ok(());
        }
        let Some((source_name, above)) = source.split_last() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let from = self.directory(above)?.try_clone_to_owned()?;
        let stat = rustix::fs::statat(&from, *source_name, AtFlags::SYMLINK_NOFOLLOW)?;
        let (directory, name) = self.place(parts)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(rustix::fs::linkat(
            &from,
            *source_name,
            directory,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Removes a file whose content did not come whole.
    pub(super) fn discard(&mut self, parts: &[&[u8]]) {
        // It fails only if it is not there.
        let _ = self.place(parts);
    }

    /// The directory and the name of `parts`, where nothing is any more.
    fn place<'a>(&'a mut self, parts: &[&'a [u8]]) -> io::Result<(BorrowedFd<'a>, &'a [u8])> {
        let Some((name, above)) = parts.split_last() else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let directory = self.directory(above)?;
        match rustix::fs::unlinkat(directory, *name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok((directory, name)),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// When a file was read and changed last; one time stands for both.
pub(super) fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
