//! Reading directories: what came with a new one, and what moved with a renamed one.

use super::super::directories::Placed;
use super::super::outcome::Outcome;
use super::super::{join, Kind, Lost};
use super::Tree;
use rustix::io::Errno;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most directories one tree may have.
const MAX_DIRECTORIES: usize = 100_000;
/// What the kernel makes up when asked: nothing is told of changes there.
const MADE_UP: [&str; 2] = ["/proc", "/sys"];

impl Tree {
    fn made_up(&self, relative: &[u8]) -> bool {
        let path = self.absolute(relative);
        MADE_UP.iter().any(|made_up| path == Path::new(made_up))
    }

    /// Watches a directory that is new at `path` and tells what is in it.
    pub(super) fn arrived(
        &mut self,
        parent: i32,
        name: &[u8],
        path: &[u8],
        directory: bool,
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        if !directory || !self.wish.recursive || self.wish.filter.excludes(path) {
            return Ok(());
        }
        match self.watch_in(parent, path)? {
            Some(watch) => self.read_at(watch, parent, name, path, outcome),
            // Gone again, or never a directory.
            None => Ok(()),
        }
    }

    /// Places a directory that is read now. One that was elsewhere before is as good as new: what
    /// was known below it was told under its former name only, and may have left it since.
    fn place_anew(
        &mut self,
        watch: i32,
        parent: i32,
        name: &[u8],
        outcome: Option<&mut Outcome>,
    ) -> Placed {
        let former = self.directories.path(watch);
        let placed = self.place(watch, parent, name);
        if placed == Placed::Moved {
            self.forget_below(watch);
            if let (Some(former), Some(outcome)) = (former, outcome) {
                self.found.forget(&former);
                outcome.removed(&self.wish.filter, &former, true);
            }
        }
        placed
    }

    /// Places a directory that is watched already and, unless it was known there, tells what is
    /// in it.
    pub(super) fn read_at(
        &mut self,
        watch: i32,
        parent: i32,
        name: &[u8],
        path: &[u8],
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        if self.place_anew(watch, parent, name, Some(outcome)) == Placed::Already {
            return Ok(());
        }
        self.read_below(watch, path.to_vec(), Some(outcome))
    }

    pub(super) fn note(&mut self, found: Vec<u8>) {
        self.found.note(found, self.instance.horizon());
    }

    /// Watches all directories below one that is watched already, and tells of all there is.
    pub(super) fn read_below(
        &mut self,
        watch: i32,
        path: Vec<u8>,
        mut telling: Option<&mut Outcome>,
    ) -> Result<(), Lost> {
        let mut queue = vec![(watch, path)];
        while let Some((watch, path)) = queue.pop() {
            if self.directories.len() > MAX_DIRECTORIES {
                return Err(Lost::WatchLimit);
            }
            if self.directories.path(watch).as_ref() != Some(&path) {
                continue;
            }
            // A directory that went away has nothing to tell.
            for entry in fs::read_dir(self.absolute(&path))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().as_bytes().to_vec();
                let child = join(&path, &name);
                if self.wish.filter.excludes(&child) {
                    continue;
                }
                let kind = entry.file_type();
                let directory = kind.as_ref().is_ok_and(fs::FileType::is_dir);
                if directory && !self.made_up(&child) {
                    match self.watch(&child) {
                        Ok(below) => {
                            self.place_anew(below, watch, &name, telling.as_deref_mut());
                            queue.push((below, child.clone()));
                        }
                        Err(Errno::NOSPC | Errno::NOMEM) => return Err(Lost::WatchLimit),
                        Err(_) => {}
                    }
                }
                if let Some(outcome) = &mut telling {
                    let filter = &self.wish.filter;
                    outcome.created(filter, &child, directory);
                    let file = kind.is_ok_and(|k| k.is_file());
                    if file && filter.tells(&child) && entry.metadata().is_ok_and(|m| m.len() > 0) {
                        outcome.changed(filter, Kind::Write, &child, false);
                    }
                    outcome.whole()?;
                    self.note(child);
                }
            }
            self.was_there(watch, &path, telling.as_deref_mut());
        }
        Ok(())
    }

    /// Sees that a directory lay where it was read. If it moved meanwhile, another may have been
    /// read: then it is told as gone, and is new where the kernel says that it went.
    fn was_there(&mut self, watch: i32, path: &[u8], outcome: Option<&mut Outcome>) {
        if self.directories.is_root(watch) || self.is_there(watch) {
            return;
        }
        if let Some(outcome) = outcome {
            outcome.removed(&self.wish.filter, path, true);
            self.found.forget(path);
        }
        self.forget(watch);
    }

    /// Says of all below a renamed directory that it lies there now. A directory that was made in
    /// it just before could not be found under the old name, and is watched now.
    pub(super) fn carry(
        &mut self,
        watch: i32,
        path: Vec<u8>,
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        let mut queue = vec![(watch, path)];
        while let Some((watch, path)) = queue.pop() {
            if self.directories.path(watch).as_ref() != Some(&path) {
                continue;
            }
            for entry in fs::read_dir(self.absolute(&path))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().as_bytes().to_vec();
                let child = join(&path, &name);
                if self.wish.filter.excludes(&child) {
                    continue;
                }
                let directory = entry.file_type().is_ok_and(|k| k.is_dir());
                outcome.carried(&self.wish.filter, &child, directory);
                outcome.whole()?;
                if !directory {
                    continue;
                }
                let known = self.directories.child(watch, &name);
                if let Some(below) = known.filter(|&below| self.watch(&child) == Ok(below)) {
                    queue.push((below, child));
                    continue;
                }
                if known.is_some() {
                    // Another one was taken for it.
                    self.gone(watch, &name, true, outcome);
                }
                outcome.created(&self.wish.filter, &child, true);
                self.note(child.clone());
                self.arrived(watch, &name, &child, true, outcome)?;
            }
            self.was_there(watch, &path, Some(outcome));
        }
        Ok(())
    }
}
