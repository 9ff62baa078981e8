//! What goes wrong with files, in the words of the native API.

use crate::http::native::Problem;
use http::StatusCode;
use std::io;
use std::path::Path;

pub(super) type Result<T> = std::result::Result<T, Problem>;

/// A request that means nothing.
pub(super) fn invalid(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_request", message)
}

/// What the kernel said when `what` was done with `path`.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Problem {
    use io::ErrorKind as Kind;
    let (status, code) = match error.kind() {
        Kind::NotFound => (StatusCode::NOT_FOUND, "file_not_found"),
        Kind::AlreadyExists | Kind::DirectoryNotEmpty => (StatusCode::CONFLICT, "file_exists"),
        Kind::NotADirectory => (StatusCode::CONFLICT, "not_a_directory"),
        Kind::IsADirectory => (StatusCode::CONFLICT, "is_a_directory"),
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            (StatusCode::FORBIDDEN, "permission_denied")
        }
        Kind::StorageFull | Kind::QuotaExceeded => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        Kind::FileTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        Kind::InvalidFilename | Kind::InvalidInput | Kind::InvalidData | Kind::CrossesDevices => {
            (StatusCode::BAD_REQUEST, "invalid_request")
        }
        // A circle of links.
        _ if error.raw_os_error() == Some(libc::ELOOP) => {
            (StatusCode::BAD_REQUEST, "invalid_request")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    };
    let problem = Problem::new(status, code, format!("{what} {}: {error}", path.display()));
    if code == "disk_full" {
        return problem.hint("remove something, or make a sandbox with a larger disk_mb");
    }
    problem
}

/// The path leads to something else than a regular file.
pub(super) fn not_a_file(path: &Path, is_directory: bool) -> Problem {
    if is_directory {
        let message = format!("{} is a directory", path.display());
        return Problem::new(StatusCode::CONFLICT, "is_a_directory", message);
    }
    invalid(format!("{} is not a regular file", path.display()))
}
