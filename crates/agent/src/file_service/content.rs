//! `files/content`: a file's bytes, out and in.

use super::call::{target, Parameters};
use super::problem::{failed, invalid, not_a_file, Result};
use super::replacement::{Existing, Replacement};
use super::work;
use crate::agent::Agent;
use crate::files::download::{seconds, set, Found};
use crate::files::part::{Destination, Receiving};
use crate::filesystem::owned;
use crate::http::native::Problem;
use crate::http::reply::{self, Reply};
use crate::users::User;
use bytes::Bytes;
use http::{header, HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use wardian_wire::entity_tag;
use wardian_wire::file_mode::Change;
use wardian_wire::range::{self, Selection};

/// A file open for reading.
pub(super) struct Opened {
    pub(super) file: File,
    size: u64,
    modified: SystemTime,
    tag: String,
}

/// Opens a regular file, without waiting for what only looks like one.
///
/// # Errors
/// `file_not_found`, `is_a_directory` and what else the kernel says.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let error = |e: io::Error| failed("reading", path, &e);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| error(e.into()))?;
    let file = File::from(file);
    let metadata = file.metadata().map_err(error)?;
    if !metadata.is_file() {
        return Err(not_a_file(path, metadata.is_dir()));
    }
    let nanoseconds = |n: i64| u64::try_from(n).unwrap_or(0);
    let modified = (metadata.mtime(), nanoseconds(metadata.mtime_nsec()));
    let changed = (metadata.ctime(), nanoseconds(metadata.ctime_nsec()));
    Ok(Opened {
        tag: entity_tag::of_file(metadata.ino(), metadata.len(), modified, changed),
        size: metadata.len(),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        file,
    })
}

/// `GET files/content`.
pub(super) async fn send(agent: &Agent, request: &Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (_, path) = target(agent, &mut parameters)?;
    parameters.end()?;
    let opened = path.clone();
    let opened = work::once(move || open(&opened)).await?;
    let tag = opened.tag;
    let found = Found {
        path,
        file: Arc::new(opened.file),
        size: opened.size,
        modified: opened.modified,
    };
    let mut reply = chosen(&found, &tag, request)?;
    found.describe(reply.headers_mut());
    set(reply.headers_mut(), header::ETAG, &tag);
    Ok(reply)
}

/// All of it, a part, or nothing because the client has it.
fn chosen(found: &Found, tag: &str, request: &Request<Incoming>) -> Result<Reply> {
    let headers = request.headers();
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if unchanged(found, tag, headers) {
        return Ok(reply::empty(StatusCode::NOT_MODIFIED));
    }
    let mut range = text(header::RANGE);
    if let Some(condition) = text(header::IF_RANGE) {
        let date = httpdate::parse_http_date(condition).ok();
        let same_date = date.is_some_and(|d| seconds(d) == seconds(found.modified));
        range = range.filter(|_| same_date || entity_tag::is_range_of(condition, tag));
    }
    match range::select(range, found.size) {
        Selection::Whole => Ok(found.part(request.method(), 0, found.size)),
        Selection::Part { start, end } => {
            let mut reply = found.part(request.method(), start, end);
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{}", end - 1, found.size);
            set(reply.headers_mut(), header::CONTENT_RANGE, &range);
            Ok(reply)
        }
        Selection::Unsatisfiable => {
            let message = format!("the range lies outside the file of {} bytes", found.size);
            let status = StatusCode::RANGE_NOT_SATISFIABLE;
            let mut reply = Problem::new(status, "invalid_request", message).reply();
            let range = format!("bytes */{}", found.size);
            set(reply.headers_mut(), header::CONTENT_RANGE, &range);
            Ok(reply)
        }
    }
}

fn unchanged(found: &Found, tag: &str, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some(tags) = text(header::IF_NONE_MATCH) {
        return entity_tag::names(tags, tag);
    }
    let date = text(header::IF_MODIFIED_SINCE).and_then(|d| httpdate::parse_http_date(d).ok());
    date.is_some_and(|date| seconds(found.modified) <= seconds(date))
}

/// How a file is to be written.
struct Manner {
    mode: Option<u32>,
    existing: Existing,
    append: bool,
    atomic: bool,
    sync: bool,
}

impl Manner {
    fn read(parameters: &mut Parameters) -> Result<Self> {
        let mode = match parameters.text("mode")?.map(|text| Change::parse(&text)) {
            None => None,
            Some(Ok(Change::Exact(mode))) => Some(mode),
            Some(_) => return Err(invalid("the parameter mode is octal digits such as 644")),
        };
        let existing = match parameters.text("create")?.as_deref() {
            None | Some("true") => Existing::Any,
            Some("false") => Existing::Required,
            Some("new") => Existing::Refused,
            Some(other) => {
                return Err(invalid(format!(
                    "create is true, false or new, not '{other}'"
                )));
            }
        };
        Ok(Self {
            mode,
            existing,
            append: parameters.flag("append", false)?,
            atomic: parameters.flag("atomic", true)?,
            sync: parameters.flag("sync", false)?,
        })
    }
}

/// `PUT files/content`.
pub(super) async fn receive(agent: &Agent, request: &mut Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (actor, path) = target(agent, &mut parameters)?;
    let manner = Manner::read(&mut parameters)?;
    parameters.end()?;
    let sync = manner.sync;
    let writing = work::once(move || Writing::begin(path, &actor.user, &manner)).await?;
    let mut receiving = Receiving::new(writing);
    while let Some(bytes) = next(request.body_mut()).await? {
        receiving.add(bytes).await?;
    }
    let (size, tag) = receiving.finish(move |writing| writing.end(sync)).await?;
    let body = serde_json::json!({ "size": size, "etag": tag });
    Ok(reply::json(StatusCode::OK, &body))
}

/// The next bytes of a body, `None` at its end.
///
/// # Errors
/// `invalid_request` for a body that is cut off.
pub(super) async fn next(body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(invalid(format!("the body ended early: {error}"))),
        }
    }
}

struct Writing {
    path: PathBuf,
    place: Place,
}

enum Place {
    Beside(Replacement),
    Itself(File),
}

impl Writing {
    fn begin(path: PathBuf, user: &User, manner: &Manner) -> Result<Self> {
        let begun = if manner.append || !manner.atomic {
            in_place(&path, user, manner).map(Place::Itself)
        } else {
            Replacement::begin(&path, user, manner.mode, manner.existing).map(Place::Beside)
        };
        match begun {
            Ok(place) => Ok(Self { path, place }),
            Err(error) => Err(failed("writing", &path, &error)),
        }
    }

    fn end(self, sync: bool) -> Result<(u64, String)> {
        let written = match self.place {
            Place::Beside(new) => new.commit(sync),
            Place::Itself(file) if sync => file.sync_all(),
            Place::Itself(_) => Ok(()),
        };
        written.map_err(|e| failed("writing", &self.path, &e))?;
        let opened = open(&self.path)?;
        Ok((opened.size, opened.tag))
    }
}

impl Destination for Writing {
    type Error = Problem;

    fn write(&mut self, batch: &[u8]) -> Result<()> {
        let file = match &mut self.place {
            Place::Beside(new) => &mut new.file,
            Place::Itself(file) => file,
        };
        file.write_all(batch)
            .map_err(|e| failed("writing", &self.path, &e))
    }

    fn died(message: &str) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

/// Opens the file itself; a new one belongs to `user`, one that is there keeps its owner.
fn in_place(path: &Path, user: &User, manner: &Manner) -> io::Result<File> {
    if let Some(parent) = path
        .parent()
        .filter(|_| manner.existing != Existing::Required)
    {
        owned::make_directories(parent, user)?;
    }
    // Not waiting: a FIFO without a reader is refused by the kernel.
    let mut flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    // Not cut later: btrfs would write the file to the disk when it is closed.
    flags |= if manner.append {
        OFlags::APPEND
    } else {
        OFlags::TRUNC
    };
    let mode = Mode::from_raw_mode(0o644);
    let fresh = flags | OFlags::CREATE | OFlags::EXCL;
    let new = match manner.existing {
        Existing::Required => None,
        Existing::Refused => Some(rustix::fs::open(path, fresh, mode)?),
        Existing::Any => match rustix::fs::open(path, fresh, mode) {
            Ok(file) => Some(file),
            Err(rustix::io::Errno::EXIST) => {
                flags |= OFlags::CREATE;
                None
            }
            Err(errno) => return Err(errno.into()),
        },
    };
    let file = match new {
        Some(file) => {
            let file = File::from(file);
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            rustix::fs::fchown(&file, Some(uid), Some(gid))?;
            file
        }
        None => File::from(rustix::fs::open(path, flags, mode)?),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if let Some(mode) = manner.mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    }
    Ok(file)
}
