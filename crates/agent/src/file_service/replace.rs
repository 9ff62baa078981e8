//! `POST files/replace`: text in one file or many, each file in one step.

use super::call::{message, Actor};
use super::pattern::Patterns;
use super::problem::{failed, invalid, not_a_file, Result};
use super::replacement::{Existing, Replacement};
use super::search::{pattern, yes};
use super::selection::{Choice, Selection};
use super::work::{self, Clock, Task, Unreadables};
use crate::agent::Agent;
use crate::http::native::Problem;
use crate::http::reply::{self, Reply};
use crate::users::User;
use http::StatusCode;
use hyper::body::Incoming;
use regex::bytes::Regex;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use wardian_wire::path_text::PathText;

/// The largest file that is changed, before and after, in bytes.
const LARGEST: u64 = 32 * 1024 * 1024;
/// The most files told by name.
const MOST_FILES: usize = 10_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    path: Option<String>,
    path_b64: Option<String>,
    pattern: String,
    replacement: String,
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
    dry_run: bool,
    /// How many replacements there must be; else nothing is changed.
    expected: Option<usize>,
    user: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Outcome {
    replacements: usize,
    files: Vec<Changed>,
    /// Files that were left alone: no text, or too large.
    skipped: Unreadables,
}

#[derive(Debug, Serialize)]
struct Changed {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    replacements: usize,
}

/// Answers a replacement.
pub(super) async fn replace(agent: &Agent, body: &mut Incoming) -> Result<Reply> {
    let wanted: Replace = message(body).await?;
    let actor = Actor::new(agent, wanted.user.as_deref())?;
    let start = actor.field("path", wanted.path.as_deref(), wanted.path_b64.as_deref())?;
    let regex = pattern(&wanted.pattern, wanted.regex, wanted.ignore_case)?;
    let begin = |dry_run| {
        Replacing::begin(
            start.clone(),
            actor.user.clone(),
            regex.clone(),
            &wanted,
            dry_run,
        )
    };
    if let Some(expected) = wanted.expected {
        let counted = work::finish(begin(true)?).await?;
        if counted.replacements != expected {
            let message = format!(
                "the pattern is found {} times in {}, not {expected} times; nothing was changed",
                counted.replacements,
                start.display()
            );
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "replacement_count",
                message,
            ));
        }
    }
    let outcome = work::finish(begin(wanted.dry_run)?).await?;
    Ok(reply::json(StatusCode::OK, &outcome))
}

struct Replacing {
    start: PathBuf,
    user: User,
    regex: Regex,
    /// `None`: the replacement stands for itself.
    groups: bool,
    replacement: String,
    dry_run: bool,
    choice: Option<Choice>,
    selection: Option<Selection>,
    outcome: Outcome,
}

impl Replacing {
    fn begin(
        start: PathBuf,
        user: User,
        regex: Regex,
        wanted: &Replace,
        dry_run: bool,
    ) -> Result<Self> {
        Ok(Self {
            start,
            user,
            regex,
            groups: wanted.regex,
            replacement: wanted.replacement.clone(),
            dry_run,
            choice: Some(Choice {
                include: Patterns::new(&wanted.include)?,
                exclude: Patterns::new(&wanted.exclude)?,
                gitignore: wanted.gitignore,
                hidden: wanted.hidden,
            }),
            selection: None,
            outcome: Outcome::default(),
        })
    }

    /// Begins the walk; a single file is done with here.
    fn open(&mut self, choice: Choice) -> Result<bool> {
        let start = self.start.clone();
        let error = |e: std::io::Error| failed("reading", &start, &e);
        let metadata = std::fs::metadata(&start).map_err(error)?;
        if metadata.is_dir() {
            self.selection = Some(Selection::begin(&start, choice)?);
            return Ok(false);
        }
        if !metadata.is_file() {
            return Err(not_a_file(&start, false));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&start, flags, Mode::empty());
        let file = file.map_err(|e| error(e.into()))?;
        if let Some(reason) = self.change(&start, file.into())? {
            return Err(invalid(format!("{} {reason}", start.display())));
        }
        Ok(true)
    }

    /// Changes one file; says why it was left alone, if it was.
    fn change(&mut self, path: &Path, file: File) -> Result<Option<&'static str>> {
        let mut content = Vec::new();
        let read = file.take(LARGEST + 1).read_to_end(&mut content);
        read.map_err(|e| failed("reading", path, &e))?;
        if content.len() as u64 > LARGEST {
            return Ok(Some("is larger than 32 MiB"));
        }
        if memchr::memchr(0, &content).is_some() {
            return Ok(Some("is no text"));
        }
        let Some((changed, count)) = self.changed(&content) else {
            return Ok(Some("would become larger than 32 MiB"));
        };
        if count == 0 {
            return Ok(None);
        }
        if !self.dry_run && changed != content {
            let written = (|| {
                let existing = Existing::Required;
                let mut new = Replacement::begin(path, &self.user, None, existing)?;
                new.file.write_all(&changed)?;
                new.commit(false)
            })();
            written.map_err(|e| failed("writing", path, &e))?;
        }
        self.outcome.replacements += count;
        if self.outcome.files.len() < MOST_FILES {
            let path = PathText::new(path.as_os_str().as_bytes());
            self.outcome.files.push(Changed {
                path: path.text,
                path_b64: path.base64,
                replacements: count,
            });
        }
        Ok(None)
    }

    /// The content with everything replaced, and how much was; `None` if it grows too large.
    fn changed(&self, content: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut changed = Vec::new();
        let (mut at, mut count) = (0, 0);
        for captures in self.regex.captures_iter(content) {
            let whole = captures.get(0)?;
            changed.extend_from_slice(&content[at..whole.start()]);
            if self.groups {
                captures.expand(self.replacement.as_bytes(), &mut changed);
            } else {
                changed.extend_from_slice(self.replacement.as_bytes());
            }
            at = whole.end();
            count += 1;
            if changed.len() as u64 > LARGEST {
                return None;
            }
        }
        changed.extend_from_slice(&content[at..]);
        (changed.len() as u64 <= LARGEST).then_some((changed, count))
    }

    /// The next file; `false` if there is none.
    fn step(&mut self) -> Result<bool> {
        let Some(selection) = &mut self.selection else {
            return Ok(false);
        };
        let (path, file) = match selection.step() {
            Ok(None) => return Ok(false),
            Ok(Some(None)) => return Ok(true),
            Ok(Some(Some(found))) => {
                let path = self.start.join(OsStr::from_bytes(found.path));
                let is_file = found
                    .stat()
                    .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode).is_file());
                if !is_file {
                    return Ok(true);
                }
                (path, found.open(OFlags::RDONLY))
            }
            Err(error) => {
                let path = self.start.join(OsStr::from_bytes(&error.path));
                (path, Err(error.error))
            }
        };
        let reason = match file {
            Ok(file) => self.change(&path, file.into())?.map(str::to_owned),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason {
            self.outcome
                .skipped
                .add(path.as_os_str().as_bytes(), reason);
        }
        Ok(true)
    }
}

impl Task for Replacing {
    type Outcome = Outcome;

    fn slice(&mut self, clock: &Clock) -> Result<Option<Outcome>> {
        if let Some(choice) = self.choice.take() {
            if self.open(choice)? {
                return Ok(Some(std::mem::take(&mut self.outcome)));
            }
        }
        while self.step()? {
            if clock.is_over() {
                return Ok(None);
            }
        }
        Ok(Some(std::mem::take(&mut self.outcome)))
    }
}
