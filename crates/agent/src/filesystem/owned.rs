//! Making directories and files that belong to a user.

use crate::users::User;
use std::io;
use std::os::unix::fs::{lchown, DirBuilderExt};
use std::path::Path;

/// Makes `path` and what is missing above it; what is new belongs to `user`, what was there
/// stays as it was.
///
/// # Errors
/// What the kernel says; `NotADirectory` if a part of the path is something else.
pub(crate) fn make_directories(path: &Path, user: &User) -> io::Result<()> {
    let mut missing = Vec::new();
    let mut at = Some(path);
    while let Some(directory) = at {
        match std::fs::metadata(directory) {
            Ok(m) if m.is_dir() => break,
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(directory),
            Err(error) => return Err(error),
        }
        at = directory.parent();
    }
    for directory in missing.into_iter().rev() {
        match std::fs::DirBuilder::new().mode(0o755).create(directory) {
            Ok(()) => give(directory, user)?,
            // Somebody was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives `path`, not what it may link to, to `user`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn give(path: &Path, user: &User) -> io::Result<()> {
    lchown(path, Some(user.uid), Some(user.gid))
}
