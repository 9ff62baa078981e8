//! What can be said about one file.

use crate::users::Names;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use wardian_wire::envd::filesystem::{permissions, EntryInfo, FileType};
use wardian_wire::metadata::{ATTRIBUTE_PREFIX, MAX_TOTAL};
use wardian_wire::timestamp::rfc3339;

/// The most bytes of attribute names that are looked through; the kernel has no more.
const MAX_NAMES: usize = 65_536;

/// Describes what is at `path`. Of a link its own size and mode are told, the kind of what it
/// leads to, and where that is.
///
/// # Errors
/// What the kernel says.
pub(crate) fn describe(path: &Path, names: &Names) -> io::Result<EntryInfo> {
    let own = fs::symlink_metadata(path)?;
    let mut file_type = kind(own.file_type());
    let mut target = None;
    if own.is_symlink() {
        // A link to nowhere, or in a circle, stays a link and shows what it says.
        if let Ok(m) = fs::metadata(path) {
            file_type = kind(m.file_type());
        }
        let resolved = fs::canonicalize(path).or_else(|_| fs::read_link(path))?;
        target = Some(text(resolved.as_os_str()));
    }
    let name = path.file_name().unwrap_or(OsStr::new("/"));
    let nanoseconds = u32::try_from(own.mtime_nsec()).unwrap_or(0);
    Ok(EntryInfo {
        name: text(name),
        file_type,
        path: text(path.as_os_str()),
        size: i64::try_from(own.size()).unwrap_or(i64::MAX),
        mode: own.mode() & 0o7777,
        permissions: permissions(own.mode()),
        owner: names.user(own.uid()),
        group: names.group(own.gid()),
        modified_time: rfc3339(own.mtime(), nanoseconds),
        symlink_target: target,
        metadata: if own.is_file() {
            read_metadata(path)
        } else {
            BTreeMap::new()
        },
    })
}

fn kind(file_type: fs::FileType) -> FileType {
    if file_type.is_file() {
        FileType::File
    } else if file_type.is_dir() {
        FileType::Directory
    } else if file_type.is_symlink() {
        FileType::Symlink
    } else {
        FileType::Unspecified
    }
}

/// JSON has no bytes: what is no UTF-8 is shown with U+FFFD.
fn text(name: &OsStr) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

/// The metadata kept on a file. A file system without attributes has none; neither has one that
/// does not let them be read.
pub(crate) fn read_metadata(path: &Path) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    for attribute in attributes(path) {
        let key = attribute.strip_prefix(ATTRIBUTE_PREFIX.as_bytes());
        let Some(key) = key.and_then(|k| std::str::from_utf8(k).ok()) else {
            continue;
        };
        let mut value = Vec::with_capacity(MAX_TOTAL);
        let buffer = rustix::buffer::spare_capacity(&mut value);
        if rustix::fs::lgetxattr(path, attribute.as_slice(), buffer).is_ok() {
            metadata.insert(key.to_owned(), String::from_utf8_lossy(&value).into_owned());
        }
    }
    metadata
}

/// The names of all attributes of a file that hold metadata.
pub(crate) fn attributes(path: &Path) -> Vec<Vec<u8>> {
    // Most files have none: ask for the size first, which needs no buffer.
    match rustix::fs::llistxattr_query(path) {
        Ok(size) if size > 0 => {}
        _ => return Vec::new(),
    }
    let mut names = Vec::with_capacity(MAX_NAMES);
    let buffer = rustix::buffer::spare_capacity(&mut names);
    if rustix::fs::llistxattr(path, buffer).is_err() {
        return Vec::new();
    }
    names
        .split(|&b| b == 0)
        .filter(|name| name.starts_with(ATTRIBUTE_PREFIX.as_bytes()))
        .map(<[u8]>::to_vec)
        .collect()
}
