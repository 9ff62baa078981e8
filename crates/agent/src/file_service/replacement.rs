//! A file that takes the place of another in one step: a reader sees the old or the new, whole. It
//! is written beside it under another name; if it is given up, nothing is left of it.

use crate::filesystem::owned;
use crate::users::User;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What to do where something is already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// Replace it, or make it.
    Any,
    /// Replace it; it must be there.
    Required,
    /// Fail.
    Refused,
}

/// A file being written.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) file: File,
    /// Where it is going to be: behind all links.
    destination: PathBuf,
    temporary: Option<PathBuf>,
    existing: Existing,
}

impl Replacement {
    /// Begins a file for `destination`. One that is there keeps its owner and its mode, unless
    /// `mode` says otherwise; a new one belongs to `user`.
    ///
    /// # Errors
    /// What the kernel says; `IsADirectory` and `InvalidInput` for what is no regular file.
    pub(super) fn begin(
        destination: &Path,
        user: &User,
        mode: Option<u32>,
        existing: Existing,
    ) -> io::Result<Self> {
        let (destination, old) = find(destination, existing)?;
        let parent = destination.parent().ok_or(io::ErrorKind::IsADirectory)?;
        owned::make_directories(parent, user)?;
        let temporary = beside(parent);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Nobody else reads it before it has its owner.
        let file = rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o600))?;
        let begun = Self {
            file: file.into(),
            destination,
            temporary: Some(temporary),
            existing,
        };
        let (uid, gid) = old
            .as_ref()
            .map_or((user.uid, user.gid), |m| (m.uid(), m.gid()));
        rustix::fs::fchown(
            &begun.file,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
        )?;
        let mode = mode.unwrap_or_else(|| old.map_or(0o644, |m| m.mode() & 0o7777));
        rustix::fs::fchmod(&begun.file, Mode::from_raw_mode(mode))?;
        Ok(begun)
    }

    /// Puts it in its place; with `sync` it is on the disk then.
    ///
    /// # Errors
    /// What the kernel says; `AlreadyExists` where something is that must not be.
    pub(super) fn commit(mut self, sync: bool) -> io::Result<()> {
        if sync {
            self.file.sync_all()?;
        }
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        let flags = match self.existing {
            Existing::Refused => RenameFlags::NOREPLACE,
            _ => RenameFlags::empty(),
        };
        let cwd = rustix::fs::CWD;
        rustix::fs::renameat_with(cwd, temporary, cwd, &self.destination, flags)?;
        self.temporary = None;
        if sync {
            if let Some(parent) = self.destination.parent() {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let Some(temporary) = self.temporary.take() else {
            return;
        };
        let remove = move || {
            // It is there, unless somebody in the sandbox has taken it away.
            let _ = rustix::fs::unlinkat(rustix::fs::CWD, &temporary, AtFlags::empty());
        };
        match tokio::runtime::Handle::try_current() {
            // A client left in the middle: this is no place to wait for a disk.
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Where a write to `path` goes, and what is there.
fn find(path: &Path, existing: Existing) -> io::Result<(PathBuf, Option<fs::Metadata>)> {
    let absent = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let is_link = match fs::symlink_metadata(path) {
        Ok(_) if existing == Existing::Refused => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(metadata) => metadata.is_symlink(),
        Err(error) if absent(&error) && existing != Existing::Required => {
            return Ok((path.to_owned(), None));
        }
        Err(error) => return Err(error),
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        // A link to nowhere: what it says is made.
        Err(error) if absent(&error) && is_link && existing == Existing::Any => {
            let target = fs::read_link(path)?;
            let target = path.parent().map_or(target.clone(), |p| p.join(&target));
            return match fs::symlink_metadata(&target) {
                Err(error) if absent(&error) => Ok((target, None)),
                // A chain of links to nowhere.
                _ => Err(error),
            };
        }
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let place = if is_link {
        fs::canonicalize(path)?
    } else {
        path.to_owned()
    };
    Ok((place, Some(metadata)))
}

/// A name that nobody has, in the same directory, so that renaming is one step.
fn beside(parent: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 8];
    // Without it the name is merely easier to guess; it must be new in any case.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let random = u64::from_ne_bytes(random);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    parent.join(format!(".wardian-{random:016x}-{number}.part"))
}
