//! What a rename within the tree means to who follows it.
//!
//! By the time the kernel's word of it is read, much may have happened since: the directory that
//! moved may lie elsewhere, or have been found where it lies now; and another may have its old name.

use super::super::inotify::Raw;
use super::super::outcome::Outcome;
use super::super::Lost;
use super::{Half, Tree};
use std::fs;

impl Tree {
    /// Tells that what was at `from` is at `path` now.
    pub(super) fn renamed(
        &mut self,
        half: Half,
        from: &[u8],
        event: &Raw,
        path: &[u8],
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        let found = self.found.take(path, event.position);
        if !half.directory {
            self.file_renamed(&half, from, event, path, outcome);
        } else if !self.wish.recursive {
            outcome.renamed(&self.wish.filter, from, path, true);
        } else if self.wish.filter.excludes(path) {
            self.gone(half.parent, &half.name, true, outcome);
        } else {
            self.directory_renamed(&half, from, event, path, found, outcome)?;
        }
        // Two names that change places are told as two renames, after which one would be missing.
        self.doubts.insert((half.parent, half.name));
        Ok(())
    }

    /// Sees who has the names in doubt, once the kernel has told of all that happened.
    pub(super) fn look(&mut self, outcome: &mut Outcome) -> Result<(), Lost> {
        loop {
            let before = self.doubts.len();
            for (parent, name) in std::mem::take(&mut self.doubts) {
                if self.is_there(parent) {
                    self.look_at(parent, &name, outcome)?;
                } else if self.directories.path(parent).is_some() {
                    self.doubts.insert((parent, name));
                }
            }
            if self.doubts.is_empty() || self.doubts.len() >= before {
                return Ok(());
            }
        }
    }

    fn look_at(&mut self, parent: i32, name: &[u8], outcome: &mut Outcome) -> Result<(), Lost> {
        let Some(path) = self.path_in(parent, name) else {
            return Ok(());
        };
        let Ok(metadata) = fs::symlink_metadata(self.absolute(&path)) else {
            return Ok(());
        };
        let known = self.directories.child(parent, name);
        if known.is_some_and(|known| metadata.is_dir() && self.is_there(known)) {
            return Ok(());
        }
        if known.is_some() {
            // Another one was told of.
            self.gone(parent, name, true, outcome);
        }
        outcome.created(&self.wish.filter, &path, metadata.is_dir());
        self.note(path.clone());
        self.arrived(parent, name, &path, metadata.is_dir(), outcome)
    }

    fn file_renamed(
        &mut self,
        half: &Half,
        from: &[u8],
        event: &Raw,
        path: &[u8],
        outcome: &mut Outcome,
    ) {
        // Directories that were found under one of its names came later.
        let found = self.directories.child(half.parent, &half.name).is_some();
        self.replaced(event, outcome);
        if found {
            self.gone(half.parent, &half.name, true, outcome);
            // Unless the name is in one of those, which are read anew.
            if self.directories.path(event.watch).is_some() {
                outcome.created(&self.wish.filter, path, false);
            }
        } else {
            outcome.renamed(&self.wish.filter, from, path, false);
        }
    }

    /// Tells that a directory is gone that was found where something else was renamed to.
    pub(super) fn replaced(&mut self, event: &Raw, outcome: &mut Outcome) {
        if self.directories.child(event.watch, &event.name).is_some() {
            self.gone(event.watch, &event.name, true, outcome);
        }
    }

    fn directory_renamed(
        &mut self,
        half: &Half,
        from: &[u8],
        event: &Raw,
        path: &[u8],
        found: bool,
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        let known = self.directories.child(half.parent, &half.name);
        // The kernel says which directory lies there; none does if it went on already.
        let watch = self.watch_in(event.watch, path)?;
        if let Some(known) = known.filter(|&known| watch.is_none_or(|watch| watch == known)) {
            outcome.renamed(&self.wish.filter, from, path, true);
            self.place(known, event.watch, &event.name);
            if let Some(watch) = watch {
                return self.carry(watch, path.to_vec(), outcome);
            }
            self.doubts.insert((event.watch, event.name.clone()));
            return Ok(());
        }
        let here = self.directories.child(event.watch, &event.name);
        let found_here = here.is_some() && here == watch;
        if !found_here {
            self.replaced(event, outcome);
        }
        if known.is_some() || found_here {
            // What has the old name, if anything, is a later directory than the one that moved.
            self.gone(half.parent, &half.name, true, outcome);
            if self.directories.path(event.watch).is_some() && !(found && found_here) {
                outcome.created(&self.wish.filter, path, true);
            }
        } else {
            // Nobody was told what is in it.
            outcome.renamed(&self.wish.filter, from, path, true);
        }
        // Watched anew, as the watch may have been forgotten with what was below the others.
        self.arrived(event.watch, &event.name, path, true, outcome)
    }
}
