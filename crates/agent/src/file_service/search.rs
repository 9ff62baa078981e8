//! `POST files/search`: lines that match, in a file or a tree.

use super::call::{message, Actor};
use super::lines::{Hit, Lines, Sought};
use super::pattern::Patterns;
use super::problem::{failed, invalid, not_a_file, Result};
use super::selection::{Choice, Selection};
use super::work::{self, Clock, Producer, Progress, Unreadables, FULL};
use crate::agent::Agent;
use crate::http::reply::Reply;
use crate::http::sse;
use hyper::body::Incoming;
use regex::bytes::{Regex, RegexBuilder};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wardian_wire::path_text::PathText;

const LIMIT: usize = 1000;
const HIGHEST_LIMIT: usize = 100_000;
const MOST_CONTEXT: usize = 50;
/// The longest pattern, in bytes, and what it may take compiled.
const LONGEST_PATTERN: usize = 64 * 1024;
const COMPILED: usize = 4 * 1024 * 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    path: Option<String>,
    path_b64: Option<String>,
    pattern: String,
    #[serde(default)]
    regex: bool,
    #[serde(default)]
    ignore_case: bool,
    #[serde(default)]
    gitignore: bool,
    #[serde(default = "yes")]
    hidden: bool,
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    context: usize,
    limit: Option<usize>,
    user: Option<String>,
}

pub(super) fn yes() -> bool {
    true
}

/// Reads a pattern: a regular expression, or text that stands for itself.
pub(super) fn pattern(text: &str, is_regex: bool, ignore_case: bool) -> Result<Regex> {
    if text.is_empty() || text.len() > LONGEST_PATTERN {
        return Err(invalid(format!("pattern has 1 to {LONGEST_PATTERN} bytes")));
    }
    let escaped = if is_regex {
        text.to_owned()
    } else {
        regex::escape(text)
    };
    RegexBuilder::new(&escaped)
        .case_insensitive(ignore_case)
        .multi_line(true)
        .crlf(true)
        .size_limit(COMPILED)
        .build()
        .map_err(|error| invalid(format!("pattern: {error}")))
}

/// Whether a pattern that matches a line also matches a text with this line in it: it does unless it
/// speaks of the ends of the text, or changes what the ends of a line are.
fn spans(text: &str, is_regex: bool) -> bool {
    !is_regex || !["\\A", "\\z", "(?"].iter().any(|sign| text.contains(sign))
}

/// Answers a search.
pub(super) async fn search(agent: &Agent, body: &mut Incoming) -> Result<Reply> {
    let search: Search = message(body).await?;
    let actor = Actor::new(agent, search.user.as_deref())?;
    let start = actor.field("path", search.path.as_deref(), search.path_b64.as_deref())?;
    let sought = Sought {
        regex: pattern(&search.pattern, search.regex, search.ignore_case)?,
        spans: spans(&search.pattern, search.regex),
    };
    if search.context > MOST_CONTEXT {
        return Err(invalid(format!("context is at most {MOST_CONTEXT}")));
    }
    let limit = work::within("limit", search.limit.unwrap_or(LIMIT), HIGHEST_LIMIT)?;
    let choice = Choice {
        include: Patterns::new(&search.include)?,
        exclude: Patterns::new(&search.exclude)?,
        gitignore: search.gitignore,
        hidden: search.hidden,
    };
    let opened = start.clone();
    let (selection, file) = work::once(move || begin(&opened, choice)).await?;
    let mut searching = Searching {
        start,
        sought,
        limit,
        context: search.context,
        selection,
        lines: None,
        hit_in_file: false,
        done: Done::default(),
    };
    if let Some(file) = file {
        let path = PathText::new(searching.start.as_os_str().as_bytes());
        searching.lines = Some(Lines::new(file, path, search.context));
    }
    Ok(work::events(searching))
}

/// A tree to walk, or a single file.
fn begin(start: &Path, choice: Choice) -> Result<(Option<Selection>, Option<File>)> {
    let metadata = std::fs::metadata(start).map_err(|e| failed("searching", start, &e))?;
    if metadata.is_dir() {
        return Ok((Some(Selection::begin(start, choice)?), None));
    }
    if !metadata.is_file() {
        return Err(not_a_file(start, false));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(start, flags, Mode::empty());
    let file = file.map_err(|e| failed("searching", start, &e.into()))?;
    Ok((None, Some(file.into())))
}

struct Searching {
    start: PathBuf,
    sought: Sought,
    limit: usize,
    context: usize,
    selection: Option<Selection>,
    /// The file at hand.
    lines: Option<Lines>,
    hit_in_file: bool,
    done: Done,
}

/// What the last event tells.
#[derive(Debug, Default, Serialize)]
struct Done {
    matches: usize,
    /// How many files have matches, and how many were looked through.
    files: usize,
    searched: usize,
    /// Files that are no text, or can't be read.
    skipped: usize,
    /// There may be more matches.
    truncated: bool,
    unreadable: Unreadables,
}

impl Searching {
    /// Begins the next file; `false` if there is none.
    fn next_file(&mut self) -> bool {
        let Some(selection) = &mut self.selection else {
            return false;
        };
        let found = match selection.step() {
            Ok(None) => return false,
            Ok(Some(None)) => return true,
            Ok(Some(Some(found))) => found,
            Err(error) => {
                let path = self.start.join(OsStr::from_bytes(&error.path));
                let path = path.as_os_str().as_bytes();
                self.done.unreadable.add(path, error.error.to_string());
                return true;
            }
        };
        // What is no regular file is not opened: some devices do something then.
        let is_file = found
            .stat()
            .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_file());
        if is_file {
            if let Ok(file) = found.open(OFlags::RDONLY) {
                let path = self.start.join(OsStr::from_bytes(found.path));
                let path = PathText::new(path.as_os_str().as_bytes());
                self.lines = Some(Lines::new(file.into(), path, self.context));
            } else {
                self.done.skipped += 1;
            }
        }
        true
    }

    /// Looks at one more line.
    fn next_line(&mut self, out: &mut Vec<u8>) {
        let Some(lines) = &mut self.lines else {
            return;
        };
        let mut hits: Vec<Hit> = Vec::new();
        let more = lines.step(&self.sought, &mut hits);
        for hit in hits {
            if self.done.matches < self.limit {
                self.done.matches += 1;
                self.done.files += usize::from(!std::mem::replace(&mut self.hit_in_file, true));
                out.extend_from_slice(&sse::encode("match", &hit));
            }
        }
        if !matches!(more, Ok(true)) {
            let skipped = lines.binary || more.is_err();
            self.done.skipped += usize::from(skipped);
            self.done.searched += usize::from(!skipped);
            self.lines = None;
            self.hit_in_file = false;
        }
    }
}

impl Producer for Searching {
    fn slice(&mut self, clock: &Clock, out: &mut Vec<u8>) -> io::Result<Progress> {
        loop {
            let mut lines = 0;
            while self.lines.is_some() && self.done.matches < self.limit {
                self.next_line(out);
                lines += 1;
                // Asking for the time costs as much as looking at a line.
                if out.len() >= FULL || (lines % 64 == 0 && clock.is_over()) {
                    return Ok(Progress::More);
                }
            }
            self.done.truncated = self.done.matches >= self.limit;
            if self.done.truncated || !self.next_file() {
                out.extend_from_slice(&sse::encode("done", &self.done));
                return Ok(Progress::Done);
            }
            if clock.is_over() {
                return Ok(Progress::More);
            }
        }
    }
}
