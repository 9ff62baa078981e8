//! What is told of one file.

use crate::filesystem::entry::read_metadata;
use crate::users::Names;
use rustix::fs::{AtFlags, FileType, Stat};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use wardian_wire::path_text::PathText;
use wardian_wire::timestamp::rfc3339;

/// One file, directory, link or other thing. Sizes are in bytes, `mode` holds permission bits.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    size: u64,
    mode: u32,
    owner: String,
    group: String,
    modified_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_b64: Option<String>,
    /// What a link leads to, if to anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_type: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// The word for a kind of file.
pub(super) fn kind(mode: u32) -> &'static str {
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::BlockDevice => "block",
        FileType::CharacterDevice => "char",
        FileType::Unknown => "unknown",
    }
}

/// Names of users and groups, each looked up once.
pub(super) struct Owners {
    names: Names,
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

/// So many are remembered; a tree that has more is asked for again and again.
const MOST_REMEMBERED: usize = 4096;

impl Owners {
    pub(super) fn load() -> Self {
        Self {
            names: Names::load(),
            users: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    pub(super) fn user(&mut self, uid: u32) -> String {
        remembered(&mut self.users, uid, |uid| self.names.user(uid))
    }

    pub(super) fn group(&mut self, gid: u32) -> String {
        remembered(&mut self.groups, gid, |gid| self.names.group(gid))
    }
}

fn remembered(known: &mut HashMap<u32, String>, id: u32, find: impl Fn(u32) -> String) -> String {
    if known.len() >= MOST_REMEMBERED {
        known.clear();
    }
    known.entry(id).or_insert_with(|| find(id)).clone()
}

/// Describes `name` in `directory`, shown as `path`.
///
/// # Errors
/// What the kernel says.
pub(super) fn describe(
    directory: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    stat: &Stat,
    owners: &mut Owners,
) -> io::Result<Entry> {
    let kind = kind(stat.st_mode);
    let (mut target, mut target_type) = (None, None);
    if kind == "symlink" {
        let link = rustix::fs::readlinkat(directory, name, Vec::new())?;
        target = Some(PathText::new(link.as_bytes()));
        let led = rustix::fs::statat(directory, name, AtFlags::empty());
        target_type = led.ok().map(|s| self::kind(s.st_mode));
    }
    let shown = PathText::new(path);
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let (target, target_b64) = target.map_or((None, None), |t| (Some(t.text), t.base64));
    Ok(Entry {
        name: String::from_utf8_lossy(name).into_owned(),
        path: shown.text,
        path_b64: shown.base64,
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode & 0o7777,
        owner: owners.user(stat.st_uid),
        group: owners.group(stat.st_gid),
        modified_at: rfc3339(stat.st_mtime, nanoseconds),
        target,
        target_b64,
        target_type,
        metadata: BTreeMap::new(),
    })
}

/// Describes what is at `path`, with the metadata kept on it.
///
/// # Errors
/// What the kernel says.
pub(super) fn of_path(path: &Path) -> io::Result<Entry> {
    use std::os::unix::ffi::OsStrExt;
    let stat = rustix::fs::lstat(path)?;
    let name = path.file_name().map_or(&b"/"[..], OsStrExt::as_bytes);
    let bytes = path.as_os_str().as_bytes();
    // Absolute, so the directory means nothing; the name is told as it is shown.
    let mut entry = describe(rustix::fs::CWD, bytes, bytes, &stat, &mut Owners::load())?;
    entry.name = String::from_utf8_lossy(name).into_owned();
    if entry.kind == "file" {
        entry.metadata = read_metadata(path);
    }
    Ok(entry)
}
