//! `POST files/attributes`: mode and owner, of one file or of a tree.

use super::call::{message, Actor};
use super::problem::{failed, invalid, Result};
use super::walk::Walk;
use super::work::{self, Clock, Task};
use crate::agent::Agent;
use crate::http::reply::{self, Reply};
use crate::users;
use http::StatusCode;
use hyper::body::Incoming;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use serde::Deserialize;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use wardian_wire::file_mode::Change;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attributes {
    path: Option<String>,
    path_b64: Option<String>,
    mode: Option<WrittenMode>,
    owner: Option<String>,
    group: Option<String>,
    #[serde(default)]
    recursive: bool,
    user: Option<String>,
}

/// `420`, `"644"` or `"u+x"`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WrittenMode {
    Bits(u32),
    Text(String),
}

/// Answers a change.
pub(super) async fn change(agent: &Agent, body: &mut Incoming) -> Result<Reply> {
    let wanted: Attributes = message(body).await?;
    let actor = Actor::new(agent, wanted.user.as_deref())?;
    let path = actor.field("path", wanted.path.as_deref(), wanted.path_b64.as_deref())?;
    let mode = match wanted.mode {
        None => None,
        Some(WrittenMode::Bits(bits)) if bits <= wardian_wire::file_mode::ALL => {
            Some(Change::Exact(bits))
        }
        Some(WrittenMode::Bits(bits)) => {
            return Err(invalid(format!(
                "mode {bits} has bits that are no permissions"
            )));
        }
        Some(WrittenMode::Text(text)) => {
            Some(Change::parse(&text).map_err(|error| invalid(error.to_string()))?)
        }
    };
    let owner = match &wanted.owner {
        None => None,
        Some(name) => Some(users::lookup(name).map_err(|e| invalid(e.to_string()))?.uid),
    };
    let group = match &wanted.group {
        None => None,
        Some(name) => Some(users::group(name).map_err(|e| invalid(e.to_string()))?),
    };
    if mode.is_none() && owner.is_none() && group.is_none() {
        return Err(invalid("none of mode, owner and group is given"));
    }
    let task = Changing {
        path,
        recursive: wanted.recursive,
        mode,
        owner: owner.map(Uid::from_raw),
        group: group.map(Gid::from_raw),
        walk: None,
        changed: 0,
    };
    let changed = work::finish(task).await?;
    Ok(reply::json(
        StatusCode::OK,
        &serde_json::json!({ "changed": changed }),
    ))
}

struct Changing {
    path: PathBuf,
    recursive: bool,
    mode: Option<Change>,
    owner: Option<Uid>,
    group: Option<Gid>,
    walk: Option<Walk>,
    changed: usize,
}

impl Changing {
    /// Changes what an `O_PATH` descriptor stands for. Links have an owner, but no mode of
    /// their own.
    fn apply(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        let stat = rustix::fs::fstat(file)?;
        if self.owner.is_some() || self.group.is_some() {
            rustix::fs::chownat(file, "", self.owner, self.group, AtFlags::EMPTY_PATH)?;
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        if let Some(change) = self.mode.as_ref().filter(|_| kind != FileType::Symlink) {
            let mode = change.apply(stat.st_mode & 0o7777, kind == FileType::Directory);
            // An O_PATH descriptor is refused by fchmod; its name in /proc is not.
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::chmod(name, Mode::from_raw_mode(mode))?;
        }
        Ok(())
    }

    /// The path itself. As with chmod(1) and chown(1), a link that is named is followed.
    fn begin(&mut self) -> Result<()> {
        let error = |e: io::Error| failed("changing", &self.path, &e);
        let file = rustix::fs::open(&self.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let file = file.map_err(|e| error(e.into()))?;
        self.apply(file.as_fd()).map_err(error)?;
        let stat = rustix::fs::fstat(&file).map_err(|e| error(e.into()))?;
        if self.recursive && FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let walk = Walk::begin(&self.path, usize::MAX, true, None);
            self.walk = Some(walk.map_err(error)?);
        }
        self.changed = 1;
        Ok(())
    }

    /// The next in the tree; `false` if there is none.
    fn step(&mut self) -> Result<bool> {
        let Some(mut walk) = self.walk.take() else {
            return Ok(false);
        };
        let outcome = match walk.step() {
            Ok(None) => return Ok(false),
            Ok(Some(found)) => {
                let changed = found.open(OFlags::PATH).and_then(|f| self.apply(f.as_fd()));
                changed.map_err(|error| (found.path.to_vec(), error))
            }
            Err(error) => Err((error.path, error.error)),
        };
        self.walk = Some(walk);
        match outcome {
            Ok(()) => self.changed += 1,
            // It went away meanwhile.
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err((path, error)) => {
                let path = self.path.join(OsStr::from_bytes(&path));
                return Err(failed("changing", &path, &error));
            }
        }
        Ok(true)
    }
}

impl Task for Changing {
    type Outcome = usize;

    fn slice(&mut self, clock: &Clock) -> Result<Option<usize>> {
        if self.changed == 0 {
            self.begin()?;
        }
        while self.step()? {
            if clock.is_over() {
                return Ok(None);
            }
        }
        Ok(Some(self.changed))
    }
}
