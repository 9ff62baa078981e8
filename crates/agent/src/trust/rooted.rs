//! Files of a root that may hold anything: links are followed, but never out of it, and what is
//! there is replaced as a whole.

use rustix::fs::{
    fchmod, fchown, fstat, mkdirat, openat, openat2, renameat, statat, unlinkat, AtFlags, FileType,
    Gid, Mode, OFlags, ResolveFlags, Stat, Uid,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most a file may have that is changed, in bytes: bundles have a quarter of a megabyte.
const MOST: u64 = 16 * 1024 * 1024;
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// The top of a file system.
pub(super) struct Root {
    top: OwnedFd,
    /// As the kernel calls it.
    path: PathBuf,
}

impl Root {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            top: rustix::fs::open(path, flags, Mode::empty())?,
            path: path.canonicalize()?,
        })
    }

    /// Replaces the regular file that `path` leads to by what `change` makes of its content;
    /// `None` leaves it. False if there is none.
    ///
    /// # Errors
    /// It is no regular file or too long, `change` refused, or a call failed.
    pub(super) fn change(
        &self,
        path: &str,
        change: impl Fn(&[u8]) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<bool> {
        // Not blocked by a pipe.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat2(&self.top, path, flags, Mode::empty(), INSIDE) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            result => result?,
        };
        let status = fstat(&file)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("is no regular file"));
        }
        let mut before = Vec::new();
        let file = File::from(file);
        (&file).take(MOST + 1).read_to_end(&mut before)?;
        if before.len() as u64 > MOST {
            return Err(io::Error::other("is too long"));
        }
        if let Some(after) = change(&before)? {
            let place = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            let place = place
                .strip_prefix(&self.path)
                .map_err(|_| io::Error::other("lies elsewhere"))?;
            self.replace(place, &after, Some(&status))?;
        }
        Ok(true)
    }

    /// Like [`Self::change`], but makes the file, and the directories it is in, where missing.
    ///
    /// # Errors
    /// As there.
    pub(super) fn change_or_make(
        &self,
        path: &str,
        change: impl Fn(&[u8]) -> io::Result<Option<Vec<u8>>>,
    ) -> io::Result<()> {
        if self.change(path, &change)? {
            return Ok(());
        }
        let content = change(&[])?.unwrap_or_default();
        self.make_directories(Path::new(path))?;
        self.replace(Path::new(path), &content, None)
    }

    fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.pop();
        for directory in above.into_iter().rev() {
            let (parent, name) = self.parent(directory, INSIDE)?;
            match mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The directory `path` is in, and its name there.
    fn parent<'a>(
        &self,
        path: &'a Path,
        how: ResolveFlags,
    ) -> io::Result<(OwnedFd, &'a std::ffi::OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let above = path.parent().filter(|p| !p.as_os_str().is_empty());
        let above = above.unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat2(&self.top, above, flags, Mode::empty(), how)?;
        Ok((parent, name))
    }

    /// Puts a new file in the place of what is at `path`, with the owner and mode that it had.
    fn replace(&self, path: &Path, content: &[u8], before: Option<&Stat>) -> io::Result<()> {
        // Where a file is known to lie no link leads.
        let how = match before {
            Some(_) => INSIDE | ResolveFlags::NO_SYMLINKS,
            None => INSIDE,
        };
        let (parent, name) = self.parent(path, how)?;
        let temporary = [b".", name.as_bytes(), b".wardian"].concat();
        let written = write_new(&parent, &temporary, content, before)
            .and_then(|()| Ok(renameat(&parent, &temporary[..], &parent, name)?));
        if written.is_err() {
            let _ = unlinkat(&parent, &temporary[..], AtFlags::empty());
        }
        written
    }
}

fn write_new(
    parent: impl AsFd,
    name: &[u8],
    content: &[u8],
    like: Option<&Stat>,
) -> io::Result<()> {
    // What an agent that was killed has left.
    if statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        unlinkat(&parent, name, AtFlags::empty())?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
    let mut file = File::from(file);
    if let Some(like) = like {
        let owner = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
        fchown(&file, Some(owner.0), Some(owner.1))?;
        fchmod(&file, Mode::from_raw_mode(like.st_mode & 0o777))?;
    }
    file.write_all(content)
}
