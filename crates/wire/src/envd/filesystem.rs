//! `filesystem.Filesystem`: what is there, and what changes.

use super::{null_is_default, Empty};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A request that names a path and perhaps more: Stat, `MakeDir`, Remove, `ListDir`, `WatchDir` and
/// `CreateWatcher` differ only in which of the other fields they read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PathRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub path: String,
    /// How deep to list; 0 means 1.
    #[serde(deserialize_with = "null_is_default")]
    pub depth: u32,
    #[serde(deserialize_with = "null_is_default")]
    pub recursive: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub include_entry: bool,
    #[serde(deserialize_with = "null_is_default")]
    pub allow_network_mounts: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MoveRequest {
    #[serde(deserialize_with = "null_is_default")]
    pub source: String,
    #[serde(deserialize_with = "null_is_default")]
    pub destination: String,
}

/// Names a watcher; the answer to `CreateWatcher` and the request of the other two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WatcherId {
    #[serde(deserialize_with = "null_is_default")]
    pub watcher_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FileType {
    #[serde(rename = "FILE_TYPE_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "FILE_TYPE_FILE")]
    File,
    #[serde(rename = "FILE_TYPE_DIRECTORY")]
    Directory,
    #[serde(rename = "FILE_TYPE_SYMLINK")]
    Symlink,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryInfo {
    pub name: String,
    #[serde(rename = "type")]
    pub file_type: FileType,
    pub path: String,
    /// In bytes; a string, as protobuf's JSON has 64-bit numbers.
    #[serde(serialize_with = "as_text")]
    pub size: i64,
    /// Permission bits.
    pub mode: u32,
    /// The same for people, like `-rw-r--r--`.
    pub permissions: String,
    pub owner: String,
    pub group: String,
    /// RFC 3339.
    pub modified_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symlink_target: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryResponse {
    pub entry: EntryInfo,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListDirResponse {
    pub entries: Vec<EntryInfo>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventType {
    #[serde(rename = "EVENT_TYPE_CREATE")]
    Create,
    #[serde(rename = "EVENT_TYPE_WRITE")]
    Write,
    #[serde(rename = "EVENT_TYPE_REMOVE")]
    Remove,
    #[serde(rename = "EVENT_TYPE_RENAME")]
    Rename,
    #[serde(rename = "EVENT_TYPE_CHMOD")]
    Chmod,
}

/// Something changed below a watched directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilesystemEvent {
    /// Relative to the watched directory.
    pub name: String,
    #[serde(rename = "type")]
    pub event_type: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryInfo>,
}

/// What a `WatchDir` stream carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchMessage {
    Start(Empty),
    Filesystem(Box<FilesystemEvent>),
    Keepalive(Empty),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WatcherEvents {
    pub events: Vec<FilesystemEvent>,
}

fn as_text<S: serde::Serializer>(size: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(size)
}

/// Permission bits as clients of E2B see them (Go's notation): `-rw-r--r--`, `drwxr-xr-x`,
/// `Lrwxrwxrwx`; `mode` is the kernel's `st_mode`.
#[must_use]
pub fn permissions(mode: u32) -> String {
    let mut text = String::with_capacity(11);
    let kind = match mode & 0o170_000 {
        0o040_000 => "d",
        0o120_000 => "L",
        0o060_000 => "D",
        0o020_000 => "Dc",
        0o010_000 => "p",
        0o140_000 => "S",
        _ => "",
    };
    text.push_str(kind);
    for (bit, letter) in [(0o4000, 'u'), (0o2000, 'g'), (0o1000, 't')] {
        if mode & bit != 0 {
            text.push(letter);
        }
    }
    if text.is_empty() {
        text.push('-');
    }
    for shift in (0..9).rev() {
        let letter = ['x', 'w', 'r'][shift % 3];
        text.push(if mode >> shift & 1 == 1 { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_as_e2b_shows_them() {
        assert_eq!(permissions(0o100_644), "-rw-r--r--");
        assert_eq!(permissions(0o040_755), "drwxr-xr-x");
        assert_eq!(permissions(0o120_777), "Lrwxrwxrwx");
        assert_eq!(permissions(0o041_777), "dtrwxrwxrwx");
    }

    #[test]
    fn events_as_clients_read_them() {
        let event = FilesystemEvent {
            name: "a/b".to_owned(),
            event_type: EventType::Create,
            entry: None,
        };
        assert_eq!(
            serde_json::to_string(&WatchMessage::Filesystem(Box::new(event))).unwrap(),
            r#"{"filesystem":{"name":"a/b","type":"EVENT_TYPE_CREATE"}}"#
        );
        assert_eq!(
            serde_json::to_string(&WatchMessage::Start(Empty {})).unwrap(),
            r#"{"start":{}}"#
        );
    }
}
