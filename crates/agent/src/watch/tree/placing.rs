//! Where the watched directories lie.
//!
//! Whoever follows has been told of all that is in a directory that is placed, under that name. So
//! one that loses its name without being told as renamed is told as gone, and forgotten.

use super::super::directories::Placed;
use super::super::outcome::Outcome;
use super::super::{join, Lost};
use super::Tree;
use rustix::io::Errno;

impl Tree {
    /// Watches the directory at `path` in another, if there is one. If the other does not lie
    /// where it is known, it is not asked: another's could be taken for it.
    pub(super) fn watch_in(&self, parent: i32, path: &[u8]) -> Result<Option<i32>, Lost> {
        match self.watch(path) {
            Ok(watch) if self.is_there(parent) => Ok(Some(watch)),
            Ok(watch) => {
                self.unwatch_unknown(watch);
                Ok(None)
            }
            Err(Errno::NOSPC | Errno::NOMEM) => Err(Lost::WatchLimit),
            Err(_) => Ok(None),
        }
    }

    /// Whether a directory lies where it is known: the kernel says which does. If not, that it
    /// moved is told later.
    pub(super) fn is_there(&self, watch: i32) -> bool {
        let there = self.directories.path(watch).map(|path| self.watch(&path));
        match there {
            Some(Ok(there)) if there == watch => true,
            Some(Ok(other)) => {
                self.unwatch_unknown(other);
                false
            }
            _ => false,
        }
    }

    fn unwatch_unknown(&self, watch: i32) {
        if self.directories.path(watch).is_none() {
            self.instance.remove(watch);
        }
    }

    /// Where a name in a directory lies, if the directory is known.
    pub(super) fn path_in(&self, parent: i32, name: &[u8]) -> Option<Vec<u8>> {
        Some(join(&self.directories.path(parent)?, name))
    }

    /// Tells that a name is gone. Where a directory has it by now that was found already, that is
    /// new to who is told.
    pub(super) fn gone(
        &mut self,
        parent: i32,
        name: &[u8],
        directory: bool,
        outcome: &mut Outcome,
    ) {
        let Some(path) = self.path_in(parent, name) else {
            return;
        };
        self.found.forget(&path);
        let known = self.directories.child(parent, name);
        outcome.removed(&self.wish.filter, &path, directory || known.is_some());
        if let Some(watch) = known {
            self.forget(watch);
        }
    }

    pub(super) fn forget(&mut self, watch: i32) {
        for watch in self.directories.forget(watch) {
            self.instance.remove(watch);
        }
    }

    /// Places a directory. Who had its name until now is told of no more.
    pub(super) fn place(&mut self, watch: i32, parent: i32, name: &[u8]) -> Placed {
        let former = self.directories.child(parent, name);
        let placed = self.directories.place(watch, parent, name);
        if let Some(former) = former.filter(|&former| former != watch) {
            self.forget(former);
        }
        placed
    }

    pub(super) fn forget_below(&mut self, watch: i32) {
        for watch in self.directories.forget_below(watch) {
            self.instance.remove(watch);
        }
    }
}
