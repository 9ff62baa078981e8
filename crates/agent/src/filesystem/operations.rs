//! Stat, `MakeDir`, Move, `ListDir`, Remove.

use super::entry::describe;
use super::{failure, owned, Result};
use crate::users::{Names, User};
use std::fs;
use std::io;
use std::path::Path;
use wardian_wire::connect::{Code, Failure};
use wardian_wire::envd::filesystem::EntryInfo;

/// The most entries one listing may have: as JSON they are held in memory at once.
const MAX_ENTRIES: usize = 200_000;

pub(super) fn stat(path: &Path) -> Result<EntryInfo> {
    describe(path, &Names::load()).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => absent(path),
        _ => failure("stat", path, &e),
    })
}

fn absent(path: &Path) -> Failure {
    Failure::new(
        Code::NotFound,
        format!("path '{}' does not exist", path.display()),
    )
}

pub(super) fn make_directory(path: &Path, user: &User) -> Result<EntryInfo> {
    match fs::metadata(path) {
        Ok(m) if m.is_dir() => {
            let message = format!("directory already exists: {}", path.display());
            return Err(Failure::new(Code::AlreadyExists, message));
        }
        Ok(_) => {
            let message = format!(
                "path already exists but is not a directory: {}",
                path.display()
            );
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failure("making directory", path, &error)),
    }
    owned::make_directories(path, user).map_err(|e| failure("making directory", path, &e))?;
    stat(path)
}

pub(super) fn rename(source: &Path, destination: &Path, user: &User) -> Result<EntryInfo> {
    if let Err(error) = fs::symlink_metadata(source) {
        return Err(match error.kind() {
            io::ErrorKind::NotFound => absent(source),
            _ => failure("moving", source, &error),
        });
    }
    if let Some(parent) = destination.parent() {
        owned::make_directories(parent, user)
            .map_err(|e| failure("making the parent of", destination, &e))?;
    }
    fs::rename(source, destination).map_err(|e| {
        let what = format!("moving {} to", source.display());
        failure(&what, destination, &e)
    })?;
    stat(destination)
}

pub(super) fn list(path: &Path, depth: u32) -> Result<Vec<EntryInfo>> {
    let metadata = fs::metadata(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Failure::new(
            Code::NotFound,
            format!("directory not found: {}", path.display()),
        ),
        _ => failure("listing", path, &e),
    })?;
    if !metadata.is_dir() {
        let message = format!("path is not a directory: {}", path.display());
        return Err(Failure::new(Code::InvalidArgument, message));
    }
    let mut listing = Listing {
        names: Names::load(),
        entries: Vec::new(),
    };
    listing.add(path, depth.max(1))?;
    Ok(listing.entries)
}

struct Listing {
    names: Names,
    entries: Vec<EntryInfo>,
}

impl Listing {
    /// Adds what is in `directory`, sorted by name, each directory followed by what is in it.
    /// Links are not followed below the top, so depth is the only measure.
    fn add(&mut self, directory: &Path, depth: u32) -> Result<()> {
        let reading = |e: io::Error| failure("listing", directory, &e);
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).map_err(reading)? {
            let entry = entry.map_err(reading)?;
            paths.push((entry.path(), entry.file_type().is_ok_and(|t| t.is_dir())));
            if self.entries.len() + paths.len() > MAX_ENTRIES {
                let message = format!(
                    "{} holds more than {MAX_ENTRIES} entries; list a smaller part",
                    directory.display()
                );
                return Err(Failure::new(Code::ResourceExhausted, message));
            }
        }
        paths.sort();
        for (path, is_directory) in paths {
            match describe(&path, &self.names) {
                Ok(entry) => self.entries.push(entry),
                // It went away while the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failure("listing", &path, &error)),
            }
            if is_directory && depth > 1 {
                match self.add(&path, depth - 1) {
                    Err(Failure {
                        code: Code::NotFound,
                        ..
                    })
                    | Ok(()) => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(())
    }
}

/// Removes whatever is there; nothing is fine too.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(m) if m.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failure("removing", path, &error)),
    }
}
