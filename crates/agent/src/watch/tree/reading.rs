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
        match self.watch(path) {
            Ok(watch) => match self.directories.place(watch, parent, name) {
                // One that was here before came back under another name.
                Placed::New | Placed::Moved => self.read_new(watch, path.to_vec(), outcome),
                Placed::Already => Ok(()),
            },
            Err(Errno::NOSPC | Errno::NOMEM) => Err(Lost::WatchLimit),
            // Gone again, or never a directory.
            Err(_) => Ok(()),
        }
    }

    pub(super) fn read_new(
        &mut self,
        watch: i32,
        path: Vec<u8>,
        outcome: &mut Outcome,
    ) -> Result<(), Lost> {
        let mut telling = Some((outcome, Vec::new()));
        let read = self.read_below(watch, path, &mut telling);
        if let Some((_, found)) = telling {
            self.note(found);
        }
        read
    }

    pub(super) fn note(&mut self, found: Vec<Vec<u8>>) {
        self.found.paths.extend(found);
        self.found.horizon = self.instance.horizon();
    }

    /// Watches all directories below one that is watched already, and tells of all there is.
    pub(super) fn read_below(
        &mut self,
        watch: i32,
        path: Vec<u8>,
        telling: &mut Option<(&mut Outcome, Vec<Vec<u8>>)>,
    ) -> Result<(), Lost> {
        let mut queue = vec![(watch, path)];
        while let Some((watch, path)) = queue.pop() {
            if self.directories.len() > MAX_DIRECTORIES {
                return Err(Lost::WatchLimit);
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
                if let Some((outcome, found)) = telling {
                    let filter = &self.wish.filter;
                    outcome.created(filter, &child, directory);
                    let file = kind.is_ok_and(|k| k.is_file());
                    if file && filter.tells(&child) && entry.metadata().is_ok_and(|m| m.len() > 0) {
                        outcome.changed(filter, Kind::Write, &child, false);
                    }
                    outcome.whole()?;
                    found.push(child.clone());
                }
                if directory && !self.made_up(&child) {
                    match self.watch(&child) {
                        Ok(below) => {
                            self.directories.place(below, watch, &name);
                            queue.push((below, child));
                        }
                        Err(Errno::NOSPC | Errno::NOMEM) => return Err(Lost::WatchLimit),
                        Err(_) => {}
                    }
                }
            }
        }
        Ok(())
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
                match self.directories.child(watch, &name) {
                    _ if !directory => {}
                    Some(below) => queue.push((below, child)),
                    None => self.arrived(watch, &name, &child, true, outcome)?,
                }
            }
        }
        Ok(())
    }
}
