//! Single entries: telling, making directories and links, moving, removing.

use super::call::{message, target, Actor, Parameters};
use super::entry::{self, Entry};
use super::problem::{failed, invalid, Result};
use super::work;
use crate::agent::Agent;
use crate::filesystem::owned;
use crate::http::native::Problem;
use crate::http::reply::{self, Reply};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use rustix::fs::RenameFlags;
use serde::Deserialize;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use wardian_wire::path_text;

/// `GET files/entry`.
pub(super) async fn tell(agent: &Agent, request: &Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (_, path) = target(agent, &mut parameters)?;
    parameters.end()?;
    let entry = work::once(move || told(&path)).await?;
    Ok(reply::json(StatusCode::OK, &entry))
}

fn told(path: &Path) -> Result<Entry> {
    entry::of_path(path).map_err(|error| match error.kind() {
        // A file in the middle of the path: nothing lies below it.
        io::ErrorKind::NotADirectory => failed("looking at", path, &io::ErrorKind::NotFound.into()),
        _ => failed("looking at", path, &error),
    })
}

/// `DELETE files/entry`.
pub(super) async fn remove(agent: &Agent, request: &Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let (_, path) = target(agent, &mut parameters)?;
    let missing = parameters.flag("missing_ok", true)?;
    parameters.end()?;
    work::once(move || {
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        let gone = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            )
        };
        match removed {
            Err(error) if !(missing && gone(&error)) => Err(failed("removing", &path, &error)),
            _ => Ok(()),
        }
    })
    .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Directory {
    path: Option<String>,
    path_b64: Option<String>,
    #[serde(default)]
    exist_ok: bool,
    user: Option<String>,
}

/// `POST files/directory`.
pub(super) async fn make_directory(agent: &Agent, body: &mut Incoming) -> Result<Reply> {
    let wanted: Directory = message(body).await?;
    let actor = Actor::new(agent, wanted.user.as_deref())?;
    let path = actor.field("path", wanted.path.as_deref(), wanted.path_b64.as_deref())?;
    let entry = work::once(move || {
        match fs::metadata(&path) {
            Ok(metadata) if !(wanted.exist_ok && metadata.is_dir()) => {
                return Err(failed(
                    "making",
                    &path,
                    &io::ErrorKind::AlreadyExists.into(),
                ));
            }
            Ok(_) => {}
            Err(_) => {
                let made = owned::make_directories(&path, &actor.user);
                made.map_err(|e| failed("making", &path, &e))?;
            }
        }
        told(&path)
    });
    Ok(reply::json(StatusCode::CREATED, &entry.await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    source: Option<String>,
    source_b64: Option<String>,
    destination: Option<String>,
    destination_b64: Option<String>,
    #[serde(default = "super::search::yes")]
    replace: bool,
    user: Option<String>,
}

/// `POST files/move`.
pub(super) async fn rename(agent: &Agent, body: &mut Incoming) -> Result<Reply> {
    let wanted: Move = message(body).await?;
    let actor = Actor::new(agent, wanted.user.as_deref())?;
    let source = actor.field(
        "source",
        wanted.source.as_deref(),
        wanted.source_b64.as_deref(),
    )?;
    let destination = actor.field(
        "destination",
        wanted.destination.as_deref(),
        wanted.destination_b64.as_deref(),
    )?;
    let entry = work::once(move || {
        fs::symlink_metadata(&source).map_err(|e| failed("moving", &source, &e))?;
        if let Some(parent) = destination.parent() {
            let made = owned::make_directories(parent, &actor.user);
            made.map_err(|e| failed("making the parent of", &destination, &e))?;
        }
        let flags = if wanted.replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        let cwd = rustix::fs::CWD;
        let renamed = rustix::fs::renameat_with(cwd, &source, cwd, &destination, flags);
        renamed.map_err(|errno| {
            let what = format!("moving {} to", source.display());
            failed(&what, &destination, &errno.into())
        })?;
        told(&destination)
    });
    Ok(reply::json(StatusCode::OK, &entry.await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Link {
    path: Option<String>,
    path_b64: Option<String>,
    target: Option<String>,
    target_b64: Option<String>,
    #[serde(default)]
    replace: bool,
    user: Option<String>,
}

/// `POST files/link`.
pub(super) async fn link(agent: &Agent, body: &mut Incoming) -> Result<Reply> {
    let wanted: Link = message(body).await?;
    let actor = Actor::new(agent, wanted.user.as_deref())?;
    let path = actor.field("path", wanted.path.as_deref(), wanted.path_b64.as_deref())?;
    let target = path_text::read(wanted.target.as_deref(), wanted.target_b64.as_deref());
    let target = target.map_err(|error| invalid(format!("target {error}")))?;
    if target.is_empty() || target.contains(&0) {
        return Err(invalid("target is empty or holds a NUL"));
    }
    let entry = work::once(move || {
        let error = |e: io::Error| failed("linking", &path, &e);
        if let Some(parent) = path.parent() {
            owned::make_directories(parent, &actor.user).map_err(error)?;
        }
        // Only another link is replaced, never what holds something.
        if wanted.replace && fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
            fs::remove_file(&path).map_err(error)?;
        }
        let target = std::ffi::OsString::from_vec(target);
        std::os::unix::fs::symlink(target, &path).map_err(error)?;
        owned::give(&path, &actor.user).map_err(error)?;
        told(&path)
    });
    Ok(reply::json(StatusCode::CREATED, &entry.await?))
}

/// There is no such call.
pub(super) fn unknown(method: &http::Method, path: &str, known: bool) -> Problem {
    if known {
        let message = format!("{method} is no method of files/{path}");
        return Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        );
    }
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("there is no files/{path}"),
    )
}
