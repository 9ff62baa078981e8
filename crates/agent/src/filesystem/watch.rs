//! Watching a directory, and on wish all below it, by inotify.
//!
//! inotify watches single directories. So that nothing below a new directory is missed, the
//! directory is watched first and read then, and what is found in it is reported as created;
//! what the kernel reports a second time is left out.

use super::entry::describe;
use super::{failure, Result};
use crate::users::Names;
use crate::watch::inotify::Instance;
use rustix::fd::OwnedFd;
use rustix::fs::inotify::{ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::filesystem::{EventType, FilesystemEvent};

/// The most directories one watch may have.
const MAX_DIRECTORIES: usize = 100_000;
/// File systems whose changes elsewhere inotify does not see: NFS, CIFS, SMB2, FUSE.
const NETWORK: [u64; 4] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546];

/// What to watch, and how.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) root: PathBuf,
    pub(super) recursive: bool,
    pub(super) include_entry: bool,
    pub(super) allow_network_mounts: bool,
}

/// A watch at work. Every method may block.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Instance,
    wish: Wish,
    /// Watch descriptors and where they are, relative to the root.
    directories: HashMap<i32, PathBuf>,
    /// What was found by reading a new directory and may be reported once more.
    found: HashSet<PathBuf>,
}

fn exhausted(path: &Path, errno: Errno) -> Failure {
    let words = std::io::Error::from(errno);
    let message = format!(
        "watching {}: {words}; the sandbox is at its limit of watches",
        path.display()
    );
    Failure::new(Code::ResourceExhausted, message)
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// `not_found`, `invalid_argument` for what is no directory, `failed_precondition` on a
    /// network mount, `resource_exhausted` at the kernel's limits.
    pub(super) fn new(wish: Wish) -> Result<Self> {
        let root = &wish.root;
        let metadata = fs::metadata(root).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!("path {} does not exist", root.display());
                Failure::new(Code::NotFound, message)
            }
            _ => failure("watching", root, &e),
        })?;
        if !metadata.is_dir() {
            let message = format!("path {} is not a directory", root.display());
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        let kind = rustix::fs::statfs(root).map_err(|e| failure("watching", root, &e.into()))?;
        if !wish.allow_network_mounts && NETWORK.contains(&(kind.f_type as u64)) {
            let message = format!("path {} is on a network mount, whose changes elsewhere cannot be seen; allowNetworkMounts watches it nevertheless", root.display());
            return Err(Failure::new(Code::FailedPrecondition, message));
        }
        let inotify = Instance::new().map_err(|errno| exhausted(root, errno))?;
        let mut watch = Self {
            inotify,
            wish,
            directories: HashMap::new(),
            found: HashSet::new(),
        };
        watch.add(Path::new(""), &mut None)?;
        Ok(watch)
    }

    /// A second handle, to wait for events with.
    pub(super) fn handle(&self) -> std::io::Result<OwnedFd> {
        self.inotify.handle()
    }

    /// Watches `relative` and, if wished, all below it; what is there goes into `found`.
    fn add(&mut self, relative: &Path, found: &mut Option<Vec<PathBuf>>) -> Result<()> {
        let mut queue = vec![relative.to_owned()];
        while let Some(relative) = queue.pop() {
            let path = self.wish.root.join(&relative);
            match self.add_one(&path) {
                Ok(descriptor) => self.directories.insert(descriptor, relative.clone()),
                // Gone again, or never a directory.
                Err(Errno::NOENT | Errno::NOTDIR) if !relative.as_os_str().is_empty() => continue,
                Err(errno @ (Errno::NOSPC | Errno::NOMEM)) => return Err(exhausted(&path, errno)),
                Err(errno) => return Err(failure("watching", &path, &errno.into())),
            };
            if self.directories.len() > MAX_DIRECTORIES {
                return Err(exhausted(&path, Errno::NOSPC));
            }
            if !self.wish.recursive {
                continue;
            }
            // A directory that went away, or may not be read, has nothing to report.
            for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
                let child = relative.join(entry.file_name());
                if let Some(found) = found {
                    found.push(child.clone());
                }
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    queue.push(child);
                }
            }
        }
        Ok(())
    }

    fn add_one(&self, path: &Path) -> std::result::Result<i32, Errno> {
        let mut flags = WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        if path != self.wish.root {
            flags |= WatchFlags::DONT_FOLLOW;
        }
        self.inotify.add(path, flags)
    }

    /// Forgets `relative` and all below it: it has moved away, its watches would tell wrong names.
    fn forget(&mut self, relative: &Path) {
        let inotify = &self.inotify;
        self.directories.retain(|&descriptor, path| {
            let below = path.starts_with(relative);
            if below {
                inotify.remove(descriptor);
            }
            !below
        });
    }

    /// What has happened since the last call; empty if nothing has.
    ///
    /// # Errors
    /// `data_loss` when the kernel had to drop events; the watch goes on after that.
    pub(super) fn read(&mut self) -> Result<Vec<FilesystemEvent>> {
        let raw = self.inotify.read();
        let raw = raw.map_err(|errno| failure("watching", &self.wish.root, &errno.into()))?;
        let names = self.wish.include_entry.then(Names::load);
        let mut events = Vec::new();
        for event in raw {
            let (descriptor, flags) = (event.watch, event.flags);
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.found.clear();
                self.add(Path::new(""), &mut None)?;
                let message = format!(
                    "events below {} were lost: more happened than were read",
                    self.wish.root.display()
                );
                return Err(Failure::new(Code::DataLoss, message));
            }
            if flags.contains(ReadFlags::IGNORED) {
                self.directories.remove(&descriptor);
                continue;
            }
            let Some(directory) = self.directories.get(&descriptor) else {
                continue;
            };
            let is_root = directory.as_os_str().is_empty();
            let relative = directory.join(OsString::from_vec(event.name));
            self.translate(flags, &relative, is_root, names.as_ref(), &mut events)?;
        }
        Ok(events)
    }

    fn translate(
        &mut self,
        flags: ReadFlags,
        relative: &Path,
        is_root: bool,
        names: Option<&Names>,
        events: &mut Vec<FilesystemEvent>,
    ) -> Result<()> {
        let of_itself = flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF);
        if of_itself && !is_root {
            // Its parent's watch has told already.
            return Ok(());
        }
        let appeared = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
        if appeared && self.found.remove(relative) {
            return Ok(());
        }
        let order = [
            (ReadFlags::CREATE | ReadFlags::MOVED_TO, EventType::Create),
            (
                ReadFlags::MOVED_FROM | ReadFlags::MOVE_SELF,
                EventType::Rename,
            ),
            (ReadFlags::ATTRIB, EventType::Chmod),
            (ReadFlags::MODIFY, EventType::Write),
            (
                ReadFlags::DELETE | ReadFlags::DELETE_SELF,
                EventType::Remove,
            ),
        ];
        for (bits, event_type) in order {
            if flags.intersects(bits) {
                events.push(self.event(relative, event_type, names));
            }
        }
        if self.wish.recursive && flags.contains(ReadFlags::ISDIR) {
            if flags.contains(ReadFlags::MOVED_FROM) {
                self.forget(relative);
            }
            if appeared {
                self.arrived(relative, names, events)?;
            }
        }
        Ok(())
    }

    /// Watches a directory that is new and reports what came with it.
    fn arrived(
        &mut self,
        relative: &Path,
        names: Option<&Names>,
        events: &mut Vec<FilesystemEvent>,
    ) -> Result<()> {
        let mut found = Some(Vec::new());
        self.add(relative, &mut found)?;
        // What is still unseen of an earlier round will not come any more once this many are new.
        if self.found.len() > MAX_DIRECTORIES {
            self.found.clear();
        }
        for child in found.into_iter().flatten() {
            events.push(self.event(&child, EventType::Create, names));
            let metadata = fs::symlink_metadata(self.wish.root.join(&child));
            if metadata.is_ok_and(|m| m.is_file() && m.len() > 0) {
                events.push(self.event(&child, EventType::Write, names));
            }
            self.found.insert(child);
        }
        Ok(())
    }

    fn event(
        &self,
        relative: &Path,
        event_type: EventType,
        names: Option<&Names>,
    ) -> FilesystemEvent {
        let told = !matches!(event_type, EventType::Remove | EventType::Rename);
        let name = if relative.as_os_str().is_empty() {
            Path::new(".")
        } else {
            relative
        };
        FilesystemEvent {
            name: name.to_string_lossy().into_owned(),
            event_type,
            entry: names
                .filter(|_| told)
                .and_then(|names| describe(&self.wish.root.join(relative), names).ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn temporary(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("wardian-watch-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn watch(root: &Path, recursive: bool) -> Watch {
        Watch::new(Wish {
            root: root.to_owned(),
            recursive,
            include_entry: false,
            allow_network_mounts: true,
        })
        .unwrap()
    }

    fn seen(watch: &mut Watch) -> Vec<(String, EventType)> {
        let mut all = Vec::new();
        loop {
            let events = watch.read().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.into_iter().map(|e| (e.name, e.event_type)));
        }
    }

    #[test]
    fn trees_that_appear_at_once_are_told_whole_and_once() {
        let root = temporary("tree");
        let mut watch = watch(&root, true);
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::write(root.join("a/b/c/file"), "x").unwrap();
        let first = seen(&mut watch);
        for name in ["a", "a/b", "a/b/c", "a/b/c/file"] {
            let count = first
                .iter()
                .filter(|e| **e == (name.to_owned(), EventType::Create))
                .count();
            assert_eq!(count, 1, "{name} in {first:?}");
        }
        fs::write(root.join("a/b/c/later"), "").unwrap();
        assert_eq!(
            seen(&mut watch),
            [("a/b/c/later".to_owned(), EventType::Create)]
        );
        fs::rename(root.join("a/b"), root.join("z")).unwrap();
        seen(&mut watch);
        fs::write(root.join("z/c/moved"), "").unwrap();
        assert_eq!(
            seen(&mut watch),
            [("z/c/moved".to_owned(), EventType::Create)]
        );
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn flat_watches_stay_flat() {
        let root = temporary("flat");
        let mut watch = watch(&root, false);
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/inner"), "x").unwrap();
        assert_eq!(seen(&mut watch), [("d".to_owned(), EventType::Create)]);
        fs::remove_dir_all(root).unwrap();
    }
}
