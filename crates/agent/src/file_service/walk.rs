//! Going through a tree: depth first, each directory's names in order of their bytes, links not
//! followed, in bounded memory. Everything is opened from the directory above it, so that a name
//! that is replaced by a link meanwhile leads nowhere else.

use super::batch::{self, Batch, From};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What all names held at the top may cost, in bytes; half of it one level deeper, and so on.
const BUDGET: usize = 8 * 1024 * 1024;
const LEAST_BUDGET: usize = 16 * 1024;
/// Each level holds a descriptor.
const DEEPEST: usize = 1024;
/// `f_type` of file systems that show the kernel: proc, sysfs, cgroup, cgroup2, debugfs, tracefs,
/// devpts, securityfs, bpf.
const OF_THE_KERNEL: [i64; 9] = [
    0x9fa0,
    0x6265_6572,
    0x0027_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x1cd1,
    0x7363_6673,
    0xcafe_4a11,
];

/// A directory that can't be entered.
#[derive(Debug)]
pub(super) struct Unreadable {
    /// Relative to the start.
    pub(super) path: Vec<u8>,
    pub(super) error: io::Error,
}

/// A walk under way.
#[derive(Debug)]
pub(super) struct Walk {
    levels: Vec<Level>,
    /// Of what was found last, relative to the start.
    path: Vec<u8>,
    /// Where its name begins.
    begin: usize,
    is_directory: bool,
    depth: usize,
    hidden: bool,
    /// What was found last is a directory and is entered next.
    descend: bool,
    /// Names of the entry after which to go on, from the start down.
    resume: VecDeque<Vec<u8>>,
}

#[derive(Debug)]
struct Level {
    directory: OwnedFd,
    batch: Batch,
    /// The largest name of the batch.
    last: Box<[u8]>,
    /// How much of the path is this directory's.
    start: usize,
    kernel: bool,
}

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// Relative to the start.
    pub(super) path: &'a [u8],
    pub(super) name: &'a [u8],
    pub(super) directory: BorrowedFd<'a>,
    pub(super) is_directory: bool,
}

impl Found<'_> {
    /// What the kernel says of it; of a link itself.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::statat(
            self.directory,
            self.name,
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Opens it; a link is not followed, a FIFO not waited for.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            self.directory,
            self.name,
            flags,
            Mode::empty(),
        )?)
    }
}

impl Walk {
    /// Begins in the directory `start`.
    ///
    /// # Arguments
    /// * `depth`: how many levels to go down; 1 is the directory alone.
    /// * `hidden`: whether names that begin with a dot are found.
    /// * `after`: the relative path of an entry; what comes behind it is found.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn begin(
        start: &Path,
        depth: usize,
        hidden: bool,
        after: Option<&[u8]>,
    ) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let directory = rustix::fs::open(start, flags, Mode::empty())?;
        let parts = after.map(|path| path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect());
        let mut walk = Self {
            levels: Vec::new(),
            path: Vec::new(),
            begin: 0,
            is_directory: false,
            depth: depth.min(DEEPEST),
            hidden,
            descend: false,
            resume: parts.unwrap_or_default(),
        };
        walk.push(directory)?;
        Ok(walk)
    }

    /// The next entry; the walk is over when there is none.
    ///
    /// # Errors
    /// [`Unreadable`]; the walk goes on behind it.
    pub(super) fn step(&mut self) -> Result<Option<Found<'_>>, Unreadable> {
        loop {
            if std::mem::take(&mut self.descend) {
                self.enter().map_err(|error| self.unreadable(error))?;
            }
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            self.path.truncate(level.start);
            let Some(name) = level.batch.names.pop() else {
                if level.batch.more {
                    if let Err(error) = self.refill() {
                        self.levels.pop();
                        return Err(self.unreadable(error));
                    }
                } else {
                    self.levels.pop();
                }
                continue;
            };
            if level.start > 0 {
                self.path.push(b'/');
            }
            let begin = self.path.len();
            self.path.extend_from_slice(&name.bytes);
            let is_directory = match name.is_directory() {
                Some(known) => known,
                None => is_directory(level.directory.as_fd(), &name.bytes),
            };
            self.descend = is_directory && self.levels.len() < self.depth;
            if self
                .resume
                .front()
                .is_some_and(|part| **part == *name.bytes)
            {
                // Told before; what is in it may not have been.
                self.resume.pop_front();
                continue;
            }
            self.resume.clear();
            self.begin = begin;
            self.is_directory = is_directory;
            return Ok(self.found());
        }
    }

    /// What the last step found.
    pub(super) fn found(&self) -> Option<Found<'_>> {
        Some(Found {
            path: &self.path,
            name: self.path.get(self.begin..)?,
            directory: self.levels.last()?.directory.as_fd(),
            is_directory: self.is_directory,
        })
    }

    /// Does not enter the directory found last.
    pub(super) fn skip(&mut self) {
        self.descend = false;
    }

    /// The directory that was entered last, relative to the start, and how deep it is (0: the
    /// start).
    pub(super) fn level(&self) -> Option<(usize, &[u8], BorrowedFd<'_>)> {
        let level = self.levels.last()?;
        let path = self.path.get(..level.start).unwrap_or_default();
        Some((self.levels.len() - 1, path, level.directory.as_fd()))
    }

    fn unreadable(&self, error: io::Error) -> Unreadable {
        Unreadable {
            path: self.path.clone(),
            error,
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let flags = OFlags::RDONLY
            | OFlags::DIRECTORY
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let name = self.path.get(level.start..).unwrap_or_default();
        let name = name.strip_prefix(b"/").unwrap_or(name);
        match rustix::fs::openat(&level.directory, name, flags, Mode::empty()) {
            Ok(directory) => self.push(directory),
            // It went away, or became something else.
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn push(&mut self, directory: OwnedFd) -> io::Result<()> {
        let kernel =
            rustix::fs::fstatfs(&directory).is_ok_and(|fs| OF_THE_KERNEL.contains(&fs.f_type));
        // Who begins in /proc wants it; who begins above does not.
        if kernel && self.levels.last().is_some_and(|above| !above.kernel) {
            return Ok(());
        }
        let from = self
            .resume
            .front()
            .map_or(From::Start, |part| From::At(part));
        let budget = budget(self.levels.len());
        let batch = batch::read(directory.as_fd(), from, self.hidden, budget)?;
        self.levels.push(Level {
            last: largest(&batch),
            directory,
            batch,
            start: self.path.len(),
            kernel,
        });
        Ok(())
    }

    fn refill(&mut self) -> io::Result<()> {
        let budget = budget(self.levels.len().saturating_sub(1));
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let directory = level.directory.as_fd();
        level.batch = batch::read(directory, From::Behind(&level.last), self.hidden, budget)?;
        level.last = largest(&level.batch);
        Ok(())
    }
}

fn budget(level: usize) -> usize {
    let halved = u32::try_from(level)
        .ok()
        .and_then(|l| BUDGET.checked_shr(l));
    halved.unwrap_or(0).max(LEAST_BUDGET)
}

fn largest(batch: &Batch) -> Box<[u8]> {
    batch
        .names
        .first()
        .map(|n| n.bytes.clone())
        .unwrap_or_default()
}

fn is_directory(directory: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::PathBuf;

    fn paths(start: &Path, after: Option<&[u8]>, most: usize) -> Vec<String> {
        let mut walk = Walk::begin(start, usize::MAX, true, after).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = walk.step().unwrap() {
            found.push(String::from_utf8(entry.path.to_vec()).unwrap());
            if found.len() == most {
                break;
            }
        }
        found
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("wardian-walk-{name}-{}", std::process::id());
            let place = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(&place).unwrap();
            Self(place)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn links_are_found_and_not_followed() {
        let place = Place::new("links");
        fs::create_dir_all(place.0.join("a/b")).unwrap();
        std::os::unix::fs::symlink("..", place.0.join("a/b/up")).unwrap();
        std::os::unix::fs::symlink("a", place.0.join("to-a")).unwrap();
        assert_eq!(paths(&place.0, None, 99), ["a", "a/b", "a/b/up", "to-a"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Pages of any size, one after another, are the whole in its order.
        #[test]
        fn going_on_behind_any_entry_gives_the_rest(
            tree in prop::collection::btree_set("[a-c.-]{1,2}(/[a-c.-]{1,2}){0,3}", 1..25),
            page in 1usize..7,
        ) {
            let place = Place::new("pages");
            for path in &tree {
                let parts: Vec<&str> = path.split('/').collect();
                if parts.iter().all(|p| *p != "." && *p != "..") {
                    fs::create_dir_all(place.0.join(path)).unwrap();
                }
            }
            let whole = paths(&place.0, None, usize::MAX);
            let mut joined: Vec<String> = Vec::new();
            loop {
                let after = joined.last().map(|p| p.as_bytes().to_vec());
                let next = paths(&place.0, after.as_deref(), page);
                if next.is_empty() {
                    break;
                }
                joined.extend(next);
            }
            prop_assert_eq!(joined, whole);
        }
    }
}
