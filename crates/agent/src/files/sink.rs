//! Where uploaded bytes go: a file, through a decompressor if they come compressed.

use super::part::Destination;
use super::FileError;
use crate::filesystem::entry::attributes;
use crate::filesystem::owned;
use crate::users::User;
use flate2::write::MultiGzDecoder;
use http::StatusCode;
use rustix::fs::{Mode, OFlags, XattrFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wardian_wire::metadata::ATTRIBUTE_PREFIX;

/// A file being written. Every method may block.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) path: PathBuf,
    writer: Writer,
}

#[derive(Debug)]
enum Writer {
    Plain(File),
    Gzip(Box<MultiGzDecoder<File>>),
}

impl Sink {
    /// Creates or empties the file at `path` for `user`, and what is missing above it.
    ///
    /// # Errors
    /// 400 for a path that can't be a file, 507 on a full disk, else what fits the kernel's word.
    pub(super) fn open(path: PathBuf, user: &User, gzip: bool) -> Result<Self, FileError> {
        let error = |what, e: io::Error| FileError::io(what, &path, &e);
        if let Some(parent) = path.parent() {
            owned::make_directories(parent, user)
                .map_err(|e| error("making the directory of", e))?;
        }
        // Not waiting: a FIFO without a reader is refused, below or by the kernel.
        // TRUNC, and no truncation later: btrfs writes a file that was ever cut to nothing, be it a
        // new one, to the disk when it is closed, and the upload would wait for that. An overlay
        // would also first copy what is to be cut.
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o666));
        let file = File::from(file.map_err(|errno| match errno {
            rustix::io::Errno::NXIO => not_a_file(&path),
            errno => error("writing", errno.into()),
        })?);
        let metadata = file.metadata().map_err(|e| error("writing", e))?;
        if !metadata.is_file() {
            return Err(not_a_file(&path));
        }
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(user.uid),
            rustix::fs::Gid::from_raw(user.gid),
        );
        rustix::fs::fchown(&file, Some(uid), Some(gid))
            .map_err(|errno| error("changing the owner of", errno.into()))?;
        let writer = if gzip {
            Writer::Gzip(Box::new(MultiGzDecoder::new(file)))
        } else {
            Writer::Plain(file)
        };
        Ok(Self { path, writer })
    }

    /// Ends the file and keeps `metadata` on it instead of what was there.
    ///
    /// # Errors
    /// As `write`; 500 where the file system keeps no attributes.
    pub(super) fn finish(mut self, metadata: &BTreeMap<String, String>) -> Result<(), FileError> {
        if let Writer::Gzip(decoder) = &mut self.writer {
            decoder
                .try_finish()
                .map_err(|e| FileError::io("writing", &self.path, &e))?;
        }
        keep(&self.path, metadata).map_err(|e| FileError::io("keeping metadata on", &self.path, &e))
    }
}

impl Destination for Sink {
    type Error = FileError;

    /// 507 on a full disk, 400 for what is not gzip though it should be.
    fn write(&mut self, batch: &[u8]) -> Result<(), FileError> {
        let written = match &mut self.writer {
            Writer::Plain(file) => file.write_all(batch),
            Writer::Gzip(decoder) => decoder.write_all(batch),
        };
        written.map_err(|e| FileError::io("writing", &self.path, &e))
    }

    fn died(message: &str) -> FileError {
        FileError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

fn not_a_file(path: &Path) -> FileError {
    FileError::bad(format!("path '{}' is not a regular file", path.display()))
}

/// Replaces all metadata of a file.
fn keep(path: &Path, metadata: &BTreeMap<String, String>) -> io::Result<()> {
    for name in attributes(path) {
        rustix::fs::removexattr(path, name.as_slice())?;
    }
    for (key, value) in metadata {
        let name = format!("{ATTRIBUTE_PREFIX}{key}");
        rustix::fs::setxattr(path, name, value.as_bytes(), XattrFlags::empty())?;
    }
    Ok(())
}
