//! Writes entries below one directory and nowhere else. Every parent is opened with
//! `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`: a link made by an earlier entry is never walked
//! through, whatever it points to.

use super::entry::{Kind, Unpacked};
use super::store::LayerError;
use rustix::fs::{
    fchmod, fchown, fsetxattr, linkat, mkdirat, mknodat, openat, openat2, statat, symlinkat,
    unlinkat, utimensat, AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const OPAQUE_ATTRIBUTE: &str = "trusted.overlay.opaque";
const LONGEST_PATH: usize = 4095;
const DEEPEST: usize = 256;
const CHUNK: usize = 1 << 20;

/// A layer being made.
pub(super) struct Tree {
    root: OwnedFd,
    /// The directory of the last entry: neighbours mostly share it.
    last_parent: Option<(Vec<u8>, OwnedFd)>,
    /// Set when all is written: later entries would change them.
    times: Vec<(Vec<u8>, Timespec)>,
    buffer: Vec<u8>,
}

/// Splits a path into names; refuses what leads elsewhere.
fn names(path: &[u8]) -> Result<Vec<&[u8]>, LayerError> {
    let bad = |what| Err(LayerError::bad(path, what));
    if path.is_empty() || path.len() > LONGEST_PATH || path.contains(&0) {
        return bad("is no path");
    }
    let parts = path
        .split(|b| *b == b'/')
        .filter(|n| !n.is_empty() && *n != b".");
    let parts: Vec<&[u8]> = parts.collect();
    if parts.iter().any(|name| *name == b"..") {
        return bad("leads out of the layer");
    }
    if parts.len() > DEEPEST || parts.iter().any(|name| name.len() > 255) {
        return bad("is too long");
    }
    Ok(parts)
}

fn failed<'a>(what: &'static str, path: &'a [u8]) -> impl Fn(Errno) -> LayerError + 'a {
    move |errno| LayerError::Write {
        what,
        path: String::from_utf8_lossy(path).into_owned(),
        errno,
    }
}

impl Tree {
    pub(super) fn open(at: &Path) -> Result<Self, LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root =
            openat(rustix::fs::CWD, at, flags, Mode::empty()).map_err(failed("open", b"/"))?;
        // Everybody in the sandbox must be able to enter, whatever the archive says of its root.
        fchmod(&root, Mode::from_raw_mode(0o755)).map_err(failed("chmod", b"/"))?;
        Ok(Self {
            root,
            last_parent: None,
            times: Vec::new(),
            buffer: vec![0; CHUNK],
        })
    }

    /// Adds one entry.
    pub(super) fn add(&mut self, entry: &mut Unpacked<'_, impl Read>) -> Result<(), LayerError> {
        let path = entry.path.clone();
        let parts = names(&path)?;
        let Some((name, parents)) = parts.split_last() else {
            // The root itself.
            return Ok(());
        };
        let parent = self.parent(parents)?;
        if *name == OPAQUE {
            return fsetxattr(&parent, OPAQUE_ATTRIBUTE, b"y", XattrFlags::empty())
                .map_err(failed("make opaque", &path));
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.white_out(&parent, hidden, &path);
        }
        self.write(&parent, name, entry, &path)
    }

    /// Opens the directory of an entry; what is missing on the way is made, as tar does.
    fn parent(&mut self, parents: &[&[u8]]) -> Result<OwnedFd, LayerError> {
        let key = parents.join(&b'/');
        if let Some((last, fd)) = &self.last_parent {
            if *last == key {
                return fd.try_clone().map_err(LayerError::Read);
            }
        }
        let mut at = self.root.try_clone().map_err(LayerError::Read)?;
        for name in parents {
            at = match open_directory(&at, name) {
                Err(Errno::NOENT) => {
                    mkdirat(&at, *name, Mode::from_raw_mode(0o755))
                        .map_err(failed("mkdir", &key))?;
                    open_directory(&at, name)
                }
                result => result,
            }
            .map_err(|errno| match errno {
                Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
                    LayerError::bad(&key, "is a link or file, yet something lies below it")
                }
                errno => failed("open", &key)(errno),
            })?;
        }
        let copy = at.try_clone().map_err(LayerError::Read)?;
        self.last_parent = Some((key, copy));
        Ok(at)
    }

    fn white_out(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), LayerError> {
        if name.starts_with(WHITEOUT) || matches!(name, b"" | b"." | b"..") {
            return Err(LayerError::bad(path, "is a whiteout of nothing"));
        }
        self.clear(parent, name, path)?;
        let mode = Mode::empty();
        mknodat(
            parent,
            name,
            FileType::CharacterDevice,
            mode,
            rustix::fs::makedev(0, 0),
        )
        .map_err(failed("make whiteout", path))
    }

    /// Removes what an earlier entry of the same name made; the later one counts.
    fn clear(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), LayerError> {
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => {}
            Err(errno) => return Err(failed("replace", path)(errno)),
        }
        self.last_parent = None;
        let directory = open_directory(parent, name).map_err(failed("open", path))?;
        for entry in Dir::read_from(&directory).map_err(failed("list", path))? {
            let entry = entry.map_err(failed("list", path))?;
            let inner = entry.file_name().to_bytes();
            if inner != b"." && inner != b".." {
                self.clear(&directory, inner, path)?;
            }
        }
        unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(failed("replace", path))
    }

    fn write(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &mut Unpacked<'_, impl Read>,
        path: &[u8],
    ) -> Result<(), LayerError> {
        match &entry.kind {
            Kind::Skipped => return Ok(()),
            Kind::Directory => return self.write_directory(parent, name, entry, path),
            Kind::HardLink { target } => {
                let target = target.clone();
                return self.write_hard_link(parent, name, &target, path);
            }
            Kind::File { .. } | Kind::Link { .. } | Kind::Fifo => {}
        }
        self.clear(parent, name, path)?;
        match &entry.kind {
            Kind::Link { target } => {
                if target.is_empty() || target.len() > LONGEST_PATH || target.contains(&0) {
                    return Err(LayerError::bad(path, "links to no path"));
                }
                symlinkat(target.as_slice(), parent, name).map_err(failed("symlink", path))?;
                let owner = (
                    Some(Uid::from_raw(entry.uid)),
                    Some(Gid::from_raw(entry.gid)),
                );
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                rustix::fs::chownat(parent, name, owner.0, owner.1, flags)
                    .map_err(failed("chown", path))?;
                utimensat(parent, name, &times(entry.modified), flags)
                    .map_err(failed("touch", path))
            }
            Kind::Fifo => {
                mknodat(parent, name, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                    .map_err(failed("mkfifo", path))?;
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fifo =
                    openat(parent, name, flags, Mode::empty()).map_err(failed("open", path))?;
                dress(&fifo, entry, path)
            }
            _ => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = openat(parent, name, flags, Mode::from_raw_mode(0o600))
                    .map_err(failed("create", path))?;
                self.fill(&file, entry, path)?;
                dress(&file, entry, path)
            }
        }
    }

    fn fill(
        &mut self,
        file: &OwnedFd,
        entry: &mut Unpacked<'_, impl Read>,
        path: &[u8],
    ) -> Result<(), LayerError> {
        let mut file = File::from(file.try_clone()?);
        loop {
            let got = match entry.content.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(got) => got,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(LayerError::Read(e)),
            };
            file.write_all(&self.buffer[..got]).map_err(|e| {
                failed("write", path)(Errno::from_io_error(&e).unwrap_or(Errno::IO))
            })?;
        }
    }

    fn write_directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        entry: &Unpacked<'_, impl Read>,
        path: &[u8],
    ) -> Result<(), LayerError> {
        let directory = match open_directory(parent, name) {
            Ok(directory) => directory,
            Err(_) => {
                self.clear(parent, name, path)?;
                mkdirat(parent, name, Mode::from_raw_mode(0o700)).map_err(failed("mkdir", path))?;
                open_directory(parent, name).map_err(failed("open", path))?
            }
        };
        dress(&directory, entry, path)?;
        self.times.push((path.to_vec(), timespec(entry.modified)));
        Ok(())
    }

    fn write_hard_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        target: &[u8],
        path: &[u8],
    ) -> Result<(), LayerError> {
        let parts = names(target)?;
        let Some((target_name, parents)) = parts.split_last() else {
            return Err(LayerError::bad(path, "is a hard link to the root"));
        };
        let source = self.parent(parents)?;
        let missing = |_| LayerError::bad(path, "is a hard link to what the layer does not hold");
        let found = statat(&source, *target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(missing)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Err(LayerError::bad(path, "is a hard link to a directory"));
        }
        if let Ok(there) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            if there.st_ino == found.st_ino {
                return Ok(());
            }
        }
        self.clear(parent, name, path)?;
        linkat(&source, *target_name, parent, name, AtFlags::empty()).map_err(failed("link", path))
    }

    /// Sets the times of directories, now that nothing more is written into them.
    pub(super) fn finish(self) -> Result<(), LayerError> {
        for (path, time) in &self.times {
            let parts = names(path)?.join(&b'/');
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // A later entry may have replaced it.
            let Ok(directory) = openat2(&self.root, parts, flags, Mode::empty(), RESOLVE) else {
                continue;
            };
            let times = Timestamps {
                last_access: *time,
                last_modification: *time,
            };
            rustix::fs::futimens(&directory, &times).map_err(failed("touch", path))?;
        }
        Ok(())
    }
}

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV);

fn open_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(parent, name, flags, Mode::empty(), RESOLVE)
}

fn timespec((seconds, nanoseconds): (i64, u32)) -> Timespec {
    Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds.into(),
    }
}

fn times(modified: (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: timespec(modified),
        last_modification: timespec(modified),
    }
}

/// Owner first: changing it takes set-user-id and capabilities away.
fn dress(file: &OwnedFd, entry: &Unpacked<'_, impl Read>, path: &[u8]) -> Result<(), LayerError> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    fchown(file, Some(uid), Some(gid)).map_err(failed("chown", path))?;
    fchmod(file, Mode::from_raw_mode(entry.mode)).map_err(failed("chmod", path))?;
    for (name, value) in &entry.attributes {
        fsetxattr(file, name.as_str(), value, XattrFlags::empty())
            .map_err(failed("setxattr", path))?;
    }
    rustix::fs::futimens(file, &times(entry.modified)).map_err(failed("touch", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_paths_inside_are_taken() {
        assert_eq!(names(b"./a//b/").unwrap(), [b"a", b"b"]);
        assert_eq!(names(b"/etc/x").unwrap(), [&b"etc"[..], b"x"]);
        assert!(names(b"./").unwrap().is_empty());
        for bad in [&b""[..], b"..", b"a/../../b", b"a\0b", &[b'x'; 300]] {
            assert!(names(bad).is_err());
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_anywhere(path in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'/'), Just(b'a')], 0..12)) {
            if let Ok(parts) = names(&path) {
                for name in parts {
                    prop_assert!(name != b"." && name != b".." && !name.contains(&b'/') && !name.is_empty());
                }
            }
        }
    }
}
