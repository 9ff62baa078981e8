//! Which files of a tree a search looks at: those that globs include and exclude, and that no
//! `.gitignore` names.

use super::pattern::Patterns;
use super::problem::{failed, Result};
use super::walk::{Found, Unreadable, Walk};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::Match;
use rustix::fs::{Mode, OFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How much of a `.gitignore` is read, in bytes.
const LONGEST: u64 = 256 * 1024;

/// What a caller chose.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) include: Patterns,
    pub(super) exclude: Patterns,
    pub(super) gitignore: bool,
    pub(super) hidden: bool,
}

/// A walk over the chosen files.
pub(super) struct Selection {
    walk: Walk,
    choice: Choice,
    ignores: Ignores,
}

/// The rules in force, from the outermost directory to the one at hand.
#[derive(Default)]
struct Ignores {
    /// How deep the directory of the rules lies; those above the start have `None`.
    rules: Vec<(Option<usize>, Gitignore)>,
    /// For the rules above the start, in their order: the way from there to the start.
    below: Vec<PathBuf>,
    /// The directory whose rules were read last.
    at: Option<Vec<u8>>,
}

/// A step of a selection: `None` at the end, `Some(None)` for what was not chosen.
pub(super) type Step<'a> = std::result::Result<Option<Option<Found<'a>>>, Unreadable>;

impl Selection {
    /// Begins in the directory `start`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn begin(start: &Path, choice: Choice) -> Result<Self> {
        let walk = Walk::begin(start, usize::MAX, choice.hidden, None);
        let walk = walk.map_err(|e| failed("reading", start, &e))?;
        let mut ignores = Ignores::default();
        if choice.gitignore {
            ignores.add_those_above(start);
        }
        Ok(Self {
            walk,
            choice,
            ignores,
        })
    }

    /// Goes one step.
    ///
    /// # Errors
    /// A directory that can't be read; the walk goes on behind it.
    pub(super) fn step(&mut self) -> Step<'_> {
        let chosen = {
            let (is_directory, path) = match self.walk.step()? {
                None => return Ok(None),
                Some(found) => (found.is_directory, found.path.to_vec()),
            };
            let chosen = self.is_chosen(&path, is_directory);
            if is_directory && !chosen {
                self.walk.skip();
            }
            chosen && !is_directory
        };
        Ok(Some(if chosen { self.walk.found() } else { None }))
    }

    fn is_chosen(&mut self, path: &[u8], is_directory: bool) -> bool {
        if self.choice.exclude.matches(path) {
            return false;
        }
        if self.choice.gitignore {
            if path.rsplit(|&b| b == b'/').next() == Some(b".git") {
                return false;
            }
            if let Some((depth, directory, descriptor)) = self.walk.level() {
                self.ignores.enter(depth, directory, descriptor);
            }
            if self.ignores.name(path, is_directory) {
                return false;
            }
        }
        is_directory || self.choice.include.is_empty() || self.choice.include.matches(path)
    }
}

impl Ignores {
    /// Reads the rules of the repository that `start` lies in.
    fn add_those_above(&mut self, start: &Path) {
        let above: Vec<&Path> = start.ancestors().skip(1).collect();
        let Some(top) = above.iter().position(|path| path.join(".git").exists()) else {
            return;
        };
        if start.join(".git").exists() {
            return;
        }
        for path in above.iter().take(top + 1).rev() {
            if let Ok(file) = rustix::fs::open(path.join(".gitignore"), flags(), Mode::empty()) {
                let below = start.strip_prefix(path).unwrap_or(start);
                // Paths are asked for as they are below the start.
                if let Some(rules) = read(file.into(), Path::new("")) {
                    self.rules.push((None, rules));
                    self.below.push(below.to_owned());
                }
            }
        }
    }

    /// Makes the rules those of `directory`.
    fn enter(&mut self, depth: usize, directory: &[u8], descriptor: BorrowedFd<'_>) {
        if self.at.as_deref() == Some(directory) {
            return;
        }
        self.at = Some(directory.to_vec());
        self.rules
            .retain(|(level, _)| level.is_none_or(|level| level < depth));
        if let Ok(file) = rustix::fs::openat(descriptor, ".gitignore", flags(), Mode::empty()) {
            let root = PathBuf::from(OsStr::from_bytes(directory));
            if let Some(rules) = read(file.into(), &root) {
                self.rules.push((Some(depth), rules));
            }
        }
    }

    /// Whether the innermost rule that speaks of `path` ignores it.
    fn name(&self, path: &[u8], is_directory: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        for (number, (level, rules)) in self.rules.iter().enumerate().rev() {
            let matched = match (level, self.below.get(number)) {
                (None, Some(below)) => rules.matched(below.join(path), is_directory),
                _ => rules.matched(path, is_directory),
            };
            match matched {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => {}
            }
        }
        false
    }
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

/// The rules in a file; what is no regular file, as a FIFO in its place, has none. A line that is
/// no rule is as if absent, as for git.
fn read(file: File, root: &Path) -> Option<Gitignore> {
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    let mut builder = GitignoreBuilder::new(root);
    for line in String::from_utf8_lossy(&text).lines() {
        let _ = builder.add_line(None, line);
    }
    builder.build().ok()
}
