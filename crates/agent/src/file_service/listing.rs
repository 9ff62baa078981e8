//! `GET files/list` and `GET files/glob`: what a directory or a tree holds, page by page.

use super::call::{target, Parameters};
use super::entry::{describe, kind, Owners};
use super::pattern::Pattern;
use super::problem::{failed, invalid, Result};
use super::walk::Walk;
use super::work::{self, Clock, Producer, Progress, Unreadables, FULL};
use crate::agent::Agent;
use crate::http::reply::Reply;
use base64::{engine::general_purpose::URL_SAFE_NO_PAD, Engine};
use hyper::body::Incoming;
use serde::Serialize;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// How many entries a page has unless told, and at most.
const PAGE: usize = 1000;
const LARGEST_PAGE: usize = 100_000;
/// What `type` may name.
const KINDS: [&str; 7] = [
    "file",
    "directory",
    "symlink",
    "fifo",
    "socket",
    "block",
    "char",
];

/// What a listing asks for.
struct Wanted {
    path: PathBuf,
    depth: usize,
    hidden: bool,
    kinds: Vec<String>,
    pattern: Option<Pattern>,
    limit: usize,
    after: Option<Vec<u8>>,
}

/// Answers `list`.
pub(super) async fn list(agent: &Agent, request: &http::Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let recursive = parameters.flag("recursive", false)?;
    let depth = parameters.parsed("depth", "a number")?;
    let depth = match (depth, recursive) {
        (Some(0), _) => return Err(invalid("depth is at least 1")),
        (Some(depth), _) => depth,
        (None, true) => usize::MAX,
        (None, false) => 1,
    };
    let pattern = parameters.text("glob")?;
    let pattern = pattern.as_deref().map(Pattern::of_names).transpose()?;
    answer(agent, parameters, depth, pattern).await
}

/// Answers `glob`.
pub(super) async fn glob(agent: &Agent, request: &http::Request<Incoming>) -> Result<Reply> {
    let mut parameters = Parameters::of(request);
    let Some(pattern) = parameters.text("pattern")? else {
        return Err(invalid("the parameter pattern is missing"));
    };
    let pattern = Pattern::of_paths(&pattern)?;
    let depth = pattern.depth;
    answer(agent, parameters, depth, Some(pattern)).await
}

async fn answer(
    agent: &Agent,
    mut parameters: Parameters,
    depth: usize,
    pattern: Option<Pattern>,
) -> Result<Reply> {
    let (_, path) = target(agent, &mut parameters)?;
    let mut kinds = Vec::new();
    for kind in parameters.every("type") {
        let kind = String::from_utf8_lossy(&kind).into_owned();
        if !KINDS.contains(&kind.as_str()) {
            return Err(invalid(format!(
                "type is one of {}, not '{kind}'",
                KINDS.join(", ")
            )));
        }
        kinds.push(kind);
    }
    let limit = parameters.parsed("limit", "a number")?.unwrap_or(PAGE);
    let after = match parameters.text("cursor")? {
        None => None,
        Some(text) => Some(cursor(&text)?),
    };
    let wanted = Wanted {
        path,
        depth,
        hidden: parameters.flag("hidden", true)?,
        kinds,
        pattern,
        limit: work::within("limit", limit, LARGEST_PAGE)?,
        after,
    };
    parameters.end()?;
    let listing = work::once(move || Listing::begin(wanted)).await?;
    Ok(work::stream(listing, "application/json"))
}

/// A cursor is the relative path of the last entry told.
fn cursor(text: &str) -> Result<Vec<u8>> {
    let path = URL_SAFE_NO_PAD.decode(text).ok();
    path.filter(|path| !path.is_empty() && !path.contains(&0))
        .ok_or_else(|| invalid("the cursor is none that a listing gave"))
}

struct Listing {
    wanted: Wanted,
    walk: Walk,
    owners: Owners,
    begun: bool,
    told: usize,
    last: Vec<u8>,
    unreadable: Unreadables,
}

#[derive(Serialize)]
struct End<'a> {
    next_cursor: Option<String>,
    unreadable: &'a Unreadables,
}

impl Listing {
    fn begin(wanted: Wanted) -> Result<Self> {
        let walk = Walk::begin(
            &wanted.path,
            wanted.depth,
            wanted.hidden,
            wanted.after.as_deref(),
        );
        Ok(Self {
            walk: walk.map_err(|e| failed("listing", &wanted.path, &e))?,
            wanted,
            owners: Owners::load(),
            begun: false,
            told: 0,
            last: Vec::new(),
            unreadable: Unreadables::default(),
        })
    }

    /// Tells the next entry that is wanted; `false` at the end.
    fn tell(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        let found = match self.walk.step() {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(false),
            Err(error) => {
                let path = self
                    .wanted
                    .path
                    .join(std::ffi::OsStr::from_bytes(&error.path));
                let path = path.as_os_str().as_bytes();
                self.unreadable.add(path, error.error.to_string());
                return Ok(true);
            }
        };
        let pattern = self.wanted.pattern.as_ref();
        if pattern.is_some_and(|pattern| !pattern.matches(found.path)) {
            return Ok(true);
        }
        // What went away meanwhile is not there.
        let Ok(stat) = found.stat() else {
            return Ok(true);
        };
        let kinds = &self.wanted.kinds;
        if !kinds.is_empty() && !kinds.iter().any(|k| k == kind(stat.st_mode)) {
            return Ok(true);
        }
        let path = self
            .wanted
            .path
            .join(std::ffi::OsStr::from_bytes(found.path));
        let path = path.as_os_str().as_bytes();
        let Ok(entry) = describe(found.directory, found.name, path, &stat, &mut self.owners) else {
            return Ok(true);
        };
        if self.told > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, &entry)?;
        self.told += 1;
        if self.told == self.wanted.limit {
            self.last = found.path.to_vec();
        }
        Ok(true)
    }
}

impl Producer for Listing {
    fn slice(&mut self, clock: &Clock, out: &mut Vec<u8>) -> io::Result<Progress> {
        if !std::mem::replace(&mut self.begun, true) {
            out.extend_from_slice(b"{\"entries\":[");
        }
        let mut more = true;
        while more && self.told < self.wanted.limit {
            if out.len() >= FULL || clock.is_over() {
                return Ok(Progress::More);
            }
            more = self.tell(out)?;
        }
        let end = End {
            next_cursor: more.then(|| URL_SAFE_NO_PAD.encode(&self.last)),
            unreadable: &self.unreadable,
        };
        let end = serde_json::to_string(&end)?;
        out.extend_from_slice(b"],");
        out.extend_from_slice(end.strip_prefix('{').unwrap_or(&end).as_bytes());
        Ok(Progress::Done)
    }
}
