//! Watching a tree: Wardian's own service, with renames, filters and cursors.
//!
//! ```text
//! inotify ──► tree (off-thread: watches, scans, pairs) ──► watched (one task per tree)
//!                                                            ├─► record   for clients away
//!                                                            └─► queues   for streams
//! ```
//! Calls of the same path and filters share one tree. [`inotify`] is also what E2B's watches
//! stand on.

mod directories;
mod filter;
pub(crate) mod inotify;
mod outcome;
mod queue;
mod record;
pub(crate) mod registry;
pub(crate) mod service;
mod tree;
mod watched;

use serde::Serialize;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Create,
    Write,
    Remove,
    Rename,
    Chmod,
    /// It lies here now because a directory above it was renamed: told by that rename, and only
    /// the record has to know.
    #[serde(skip)]
    Carried,
}

/// One change. Paths are relative to the root of the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) path: Vec<u8>,
    /// Where it was, for a rename.
    pub(crate) from: Option<Vec<u8>>,
    pub(crate) directory: bool,
}

/// Why what happened is not known in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The kernel, or this agent, had more to keep than it keeps.
    Overflow,
    /// A directory could not be watched: the limit of watches is reached.
    WatchLimit,
    /// The root is gone, or another lies in its place.
    RootGone,
}

impl Lost {
    /// The word for it in a `resync`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::WatchLimit => "watch_limit",
            Self::RootGone => "root_gone",
        }
    }
}

/// `name` below `directory`, both relative.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        name.to_vec()
    } else {
        [directory, b"/", name].concat()
    }
}
