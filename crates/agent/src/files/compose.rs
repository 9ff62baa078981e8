//! POST /files/compose: joins files into one, which appears whole or not at all; the parts are
//! removed then.

use super::{blocking, FileError, Written};
use crate::agent::Agent;
use crate::filesystem::owned;
use crate::http::reply::{self, Reply};
use crate::http::request;
use crate::paths;
use crate::users::User;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most the body may have, in bytes.
const MAX_BODY: usize = 4 * 1024 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Compose {
    source_paths: Vec<String>,
    destination: String,
    username: Option<String>,
}

/// Answers a POST.
pub(crate) async fn compose(agent: &Agent, request: Request<Incoming>) -> Reply {
    match run(agent, request).await {
        Ok(written) => reply::json(StatusCode::OK, &written),
        Err(error) => error.reply(),
    }
}

async fn run(agent: &Agent, request: Request<Incoming>) -> Result<Written, FileError> {
    let bytes = request::whole(request.into_body(), MAX_BODY).await;
    let bytes = bytes.map_err(|failure| FileError::bad(failure.message))?;
    let compose: Compose = serde_json::from_slice(&bytes)
        .map_err(|e| FileError::bad(format!("invalid request body: {e}")))?;
    if compose.source_paths.is_empty() {
        return Err(FileError::bad("source_paths must not be empty"));
    }
    if compose.destination.is_empty() {
        return Err(FileError::bad("destination is required"));
    }
    let user = agent.user(compose.username.as_deref().filter(|u| !u.is_empty()));
    let user = user.map_err(|f| FileError::new(StatusCode::UNAUTHORIZED, f.message))?;
    let default = agent.default_workdir();
    let resolve = |path: &String| {
        paths::resolve(path.as_bytes(), &user, default.as_deref())
            .map_err(|e| FileError::bad(e.to_string()))
    };
    let destination = resolve(&compose.destination)?;
    let sources = compose.source_paths.iter().map(resolve);
    let sources = sources.collect::<Result<Vec<PathBuf>, _>>()?;
    if sources.contains(&destination) {
        let message = format!(
            "{} is both a source and the destination",
            destination.display()
        );
        return Err(FileError::bad(message));
    }
    blocking(move || join(&sources, &destination, &user)).await
}

fn join(sources: &[PathBuf], destination: &Path, user: &User) -> Result<Written, FileError> {
    let mut files = Vec::with_capacity(sources.len());
    for source in sources {
        let metadata = fs::metadata(source).map_err(|e| FileError::io("reading", source, &e))?;
        if !metadata.is_file() {
            let message = format!("source {} is not a regular file", source.display());
            return Err(FileError::bad(message));
        }
        files.push(File::open(source).map_err(|e| FileError::io("reading", source, &e))?);
    }
    if fs::metadata(destination).is_ok_and(|m| m.is_dir()) {
        let message = format!("destination {} is a directory", destination.display());
        return Err(FileError::bad(message));
    }
    let temporary = beside(destination);
    if let Err(error) = write(files, destination, &temporary, user) {
        // Fails only if it was not even made.
        let _ = fs::remove_file(&temporary);
        return Err(FileError::io("composing", destination, &error));
    }
    for source in sources {
        match fs::remove_file(source) {
            // A source that was named twice is gone the second time.
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::io("removing", source, &e));
            }
            _ => {}
        }
    }
    Ok(Written::new(destination, BTreeMap::new()))
}

/// A name in the same directory, so that renaming is one step.
fn beside(destination: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = destination.file_name().unwrap_or_default().to_owned();
    name.push(format!(".wardian-compose.{}.{number}", std::process::id()));
    destination.with_file_name(name)
}

fn write(files: Vec<File>, destination: &Path, temporary: &Path, user: &User) -> io::Result<()> {
    if let Some(parent) = destination.parent() {
        owned::make_directories(parent, user)?;
    }
    let mut options = OpenOptions::new();
    let mut joined = options
        .write(true)
        .create_new(true)
        .mode(0o666)
        .open(temporary)?;
    for mut file in files {
        // The kernel copies, and shares blocks where it can.
        io::copy(&mut file, &mut joined)?;
    }
    owned::give(temporary, user)?;
    fs::rename(temporary, destination)
}
