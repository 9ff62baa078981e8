//! What is in the sandbox's files and directories, and what changes: E2B's
//! `filesystem.Filesystem`.

pub(crate) mod blocking;
pub(crate) mod entry;
mod operations;
pub(crate) mod owned;
pub(crate) mod service;
mod watch;
mod watch_service;
pub(crate) mod watchers;

use wardian_wire::connect::{Code, Failure};

type Result<T> = std::result::Result<T, Failure>;

/// A file operation that failed, in Connect's words.
pub(crate) fn failure(what: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let code = match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::PermissionDenied,
        ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::IsADirectory => {
            Code::InvalidArgument
        }
        ErrorKind::DirectoryNotEmpty | ErrorKind::CrossesDevices => Code::FailedPrecondition,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        // A circle of links.
        _ if error.raw_os_error() == Some(libc::ELOOP) => Code::FailedPrecondition,
        _ => Code::Internal,
    };
    Failure::new(code, format!("{what} {}: {error}", path.display()))
}
