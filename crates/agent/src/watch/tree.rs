//! A watched tree: inotify's watches on single directories, made one.
//!
//! So that nothing below a new directory is missed, it is watched first and read then; what is
//! found in it is told as created, and what the kernel tells of the same once more is left out.
//! The two halves of a rename come one after the other, but may be parted by a read.

mod found;
mod placing;
mod reading;
mod renaming;

use super::directories::Directories;
use super::filter::Filter;
use super::inotify::{Instance, Raw};
use super::outcome::Outcome;
use super::{join, Change, Kind, Lost};
use found::Found;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How many halves of renames wait for their counterparts.
const MAX_HALVES: usize = 1024;
/// A round ends after this many changes, so that they are told while more happens.
const ROUND: usize = 4096;
/// How many names may be in doubt.
const MAX_DOUBTS: usize = 100_000;

/// What to watch.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) root: PathBuf,
    pub(super) recursive: bool,
    pub(super) filter: Filter,
}

/// Why a tree can't be watched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Root(io::Error),
    #[error("it is not a directory")]
    NotADirectory,
    #[error("the sandbox is at its limit of watches, one for each directory")]
    Watches,
    #[error("the sandbox is at its limit of watched trees")]
    Instances,
}

/// A name that went away by a rename, until it is known where to.
#[derive(Debug)]
struct Half {
    cookie: u32,
    parent: i32,
    name: Vec<u8>,
    directory: bool,
}

/// What one round gave.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) changes: Vec<Change>,
    /// Whether a name went away of which the other half is still to come.
    pub(super) unsettled: bool,
    /// Whether this was all.
    pub(super) drained: bool,
}

/// A tree that is watched. Every method may block.
#[derive(Debug)]
pub(super) struct Tree {
    instance: Instance,
    wish: Wish,
    /// Device and number of the root.
    identity: (u64, u64),
    directories: Directories,
    found: Found,
    halves: Vec<Half>,
    /// Names in directories, by their watches, of which renames leave open who has them.
    doubts: BTreeSet<(i32, Vec<u8>)>,
}

impl Tree {
    /// Watches all there is to watch.
    ///
    /// # Errors
    /// [`Trouble`].
    pub(super) fn open(wish: Wish) -> Result<Self, Trouble> {
        let identity = identity(&wish.root)?;
        let instance = Instance::new().map_err(|errno| match errno {
            Errno::MFILE | Errno::NFILE => Trouble::Instances,
            errno => Trouble::Root(errno.into()),
        })?;
        let mut tree = Self {
            instance,
            wish,
            identity,
            directories: Directories::default(),
            found: Found::default(),
            halves: Vec::new(),
            doubts: BTreeSet::new(),
        };
        let root = match tree.watch(b"") {
            Ok(root) => root,
            Err(Errno::NOSPC | Errno::NOMEM) => return Err(Trouble::Watches),
            Err(Errno::NOTDIR) => return Err(Trouble::NotADirectory),
            Err(errno) => return Err(Trouble::Root(errno.into())),
        };
        tree.directories.root(root);
        if tree.wish.recursive {
            let covered = tree.read_below(root, Vec::new(), None);
            covered.map_err(|_| Trouble::Watches)?;
        }
        Ok(tree)
    }

    /// A second handle, to wait for events with.
    pub(super) fn handle(&self) -> io::Result<OwnedFd> {
        self.instance.handle()
    }

    /// All that has happened. With `settle` names that went away and came back nowhere are told
    /// as removed; without, they wait for the next round.
    ///
    /// # Errors
    /// [`Lost`]; the tree is of no use then.
    pub(super) fn round(&mut self, settle: bool) -> Result<Round, Lost> {
        let mut outcome = Outcome::default();
        let mut drained = false;
        while outcome.changes.len() < ROUND {
            let events = self.instance.read().map_err(|_| Lost::Overflow)?;
            if events.is_empty() {
                drained = true;
                break;
            }
            for event in events {
                self.event(event, &mut outcome)?;
                outcome.whole()?;
            }
            if self.doubts.len() > MAX_DOUBTS {
                return Err(Lost::Overflow);
            }
        }
        if settle && drained {
            for half in std::mem::take(&mut self.halves) {
                self.left(half, &mut outcome);
            }
        }
        if drained {
            self.look(&mut outcome)?;
        }
        if identity(&self.wish.root).ok() != Some(self.identity) {
            return Err(Lost::RootGone);
        }
        outcome.whole()?;
        Ok(Round {
            changes: outcome.changes,
            unsettled: !self.halves.is_empty(),
            drained,
        })
    }

    fn absolute(&self, relative: &[u8]) -> PathBuf {
        self.wish.root.join(OsStr::from_bytes(relative))
    }

    fn watch(&self, relative: &[u8]) -> Result<i32, Errno> {
        // Added to what is watched there already: while the kernel replaces that, it tells nothing.
        let mut flags = WatchFlags::MASK_ADD
            | WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::ONLYDIR;
        if relative.is_empty() {
            return self.instance.add(&self.wish.root, flags);
        }
        flags |= WatchFlags::DONT_FOLLOW;
        self.instance.add(&self.absolute(relative), flags)
    }

    fn event(&mut self, event: Raw, outcome: &mut Outcome) -> Result<(), Lost> {
        self.found.reached(event.position);
        let flags = event.flags;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Err(Lost::Overflow);
        }
        let of_root = self.directories.is_root(event.watch);
        if of_root && flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) {
            return Err(Lost::RootGone);
        }
        if flags.contains(ReadFlags::IGNORED) {
            self.forget(event.watch);
            return Ok(());
        }
        if event.name.is_empty() {
            // Of any directory but the root its parent's watch tells the same.
            if of_root && flags.contains(ReadFlags::ATTRIB) {
                outcome.changed(&self.wish.filter, Kind::Chmod, b"", true);
            }
            return Ok(());
        }
        let Some(directory) = self.directories.path(event.watch) else {
            return Ok(());
        };
        // What happens in a directory that went away does not concern the tree: if the other half
        // of its rename is still to come, it is new then.
        let gone = self.halves.iter().position(|h| {
            let path = h.directory.then(|| self.path_in(h.parent, &h.name));
            path.flatten().is_some_and(|p| is_below(&directory, &p))
        });
        if let Some(at) = gone {
            let half = self.halves.remove(at);
            self.left(half, outcome);
            return Ok(());
        }
        let path = join(&directory, &event.name);
        self.named(event, path, outcome)
    }

    fn named(&mut self, event: Raw, path: Vec<u8>, outcome: &mut Outcome) -> Result<(), Lost> {
        let flags = event.flags;
        let directory = flags.contains(ReadFlags::ISDIR);
        let moved = ReadFlags::MOVED_FROM | ReadFlags::MOVED_TO;
        if flags.intersects(ReadFlags::CREATE | ReadFlags::DELETE | moved) {
            // What is told of the name from here on is up to what happens now.
            self.doubts.remove(&(event.watch, event.name.clone()));
        }
        if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            return self.appeared(&event, &path, directory, outcome);
        }
        if flags.contains(ReadFlags::MOVED_FROM) {
            self.found.forget(&path);
            if self.halves.len() >= MAX_HALVES {
                return Err(Lost::Overflow);
            }
            self.halves.push(Half {
                cookie: event.cookie,
                parent: event.watch,
                name: event.name,
                directory,
            });
        } else if flags.contains(ReadFlags::DELETE) {
            self.gone(event.watch, &event.name, directory, outcome);
        } else if flags.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE) {
            outcome.changed(&self.wish.filter, Kind::Write, &path, false);
        } else if flags.contains(ReadFlags::ATTRIB) {
            outcome.changed(&self.wish.filter, Kind::Chmod, &path, directory);
        }
        Ok(())
    }

    fn appeared(
        &mut self,
        event: &Raw,
        path: &[u8],
        directory: bool,
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        let moved = event.flags.contains(ReadFlags::MOVED_TO);
        let counterpart = self
            .halves
            .iter()
            .position(|h| moved && h.cookie == event.cookie);
        let half = counterpart.map(|at| self.halves.remove(at));
        // Who had this name before went elsewhere: told first, or it would be taken for this one.
        let former = |h: &Half| h.parent == event.watch && h.name == event.name;
        while let Some(at) = self.halves.iter().position(former) {
            let former = self.halves.remove(at);
            self.gone(former.parent, &former.name, former.directory, outcome);
        }
        let from = half.and_then(|h| self.path_in(h.parent, &h.name).map(|from| (h, from)));
        match from {
            Some((half, from)) => self.renamed(half, &from, event, path, outcome),
            None if self.found.take(path, event.position) => Ok(()),
            None => {
                // An empty directory may have been replaced by one from outside.
                let here = self.directories.child(event.watch, &event.name);
                if here.is_some_and(|here| !self.is_there(here)) {
                    self.replaced(event, outcome);
                }
                outcome.created(&self.wish.filter, path, directory);
                self.arrived(event.watch, &event.name, path, directory, outcome)
            }
        }
    }

    /// Tells that a name went away for good, and forgets what was below it.
    fn left(&mut self, half: Half, outcome: &mut Outcome) {
        self.gone(half.parent, &half.name, half.directory, outcome);
        self.doubts.insert((half.parent, half.name));
    }
}

/// Whether `path` is `directory` or lies below it.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// What lies at `root` now: device and number, which another directory does not have.
fn identity(root: &Path) -> Result<(u64, u64), Trouble> {
    let metadata = fs::metadata(root).map_err(Trouble::Root)?;
    if metadata.is_dir() {
        Ok((metadata.dev(), metadata.ino()))
    } else {
        Err(Trouble::NotADirectory)
    }
}

#[cfg(test)]
mod tests;
