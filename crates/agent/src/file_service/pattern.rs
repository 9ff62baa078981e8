//! Globs: `*` and `?` stay within a name, `**` spans directories, `{a,b}` is either, `[a-z]` one
//! of a set.

use super::problem::{invalid, Result};
use globset::{Candidate, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most bytes of a glob, and the most globs of a list.
const LONGEST: usize = 4096;
const MOST: usize = 200;

/// A glob for whole relative paths.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    matcher: GlobMatcher,
    /// How many levels deep a match can lie.
    pub(super) depth: usize,
}

impl Pattern {
    /// Reads a glob that stands for paths relative to where the search starts.
    pub(super) fn of_paths(glob: &str) -> Result<Self> {
        let glob = glob
            .strip_prefix("./")
            .unwrap_or(glob)
            .trim_end_matches('/');
        if glob.is_empty() || glob.starts_with('/') {
            return Err(invalid(
                "a glob is a path relative to where the search starts",
            ));
        }
        let spans = glob.contains("**");
        let depth = glob.matches('/').count() + 1;
        Ok(Self {
            matcher: build(glob)?.compile_matcher(),
            depth: if spans { usize::MAX } else { depth },
        })
    }

    /// The same, but a glob without a slash stands for names at any depth.
    pub(super) fn of_names(glob: &str) -> Result<Self> {
        Self::of_paths(&anywhere(glob))
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.matcher.is_match(Path::new(OsStr::from_bytes(path)))
    }
}

/// Several globs, for names where they hold no slash.
#[derive(Clone, Debug)]
pub(super) struct Patterns(GlobSet);

impl Patterns {
    pub(super) fn new(globs: &[String]) -> Result<Self> {
        if globs.len() > MOST {
            return Err(invalid(format!("more than {MOST} globs")));
        }
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            set.add(build(anywhere(glob).trim_end_matches('/'))?);
        }
        let set = set.build();
        set.map(Self).map_err(|error| invalid(error.to_string()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        self.0.is_match_candidate(&Candidate::new(path))
    }
}

fn anywhere(glob: &str) -> String {
    let glob = glob.strip_prefix("./").unwrap_or(glob);
    if glob.trim_end_matches('/').contains('/') {
        glob.trim_start_matches('/').to_owned()
    } else {
        format!("**/{}", glob.trim_end_matches('/'))
    }
}

fn build(glob: &str) -> Result<globset::Glob> {
    if glob.len() > LONGEST {
        return Err(invalid(format!("a glob is longer than {LONGEST} bytes")));
    }
    GlobBuilder::new(glob)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .build()
        .map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_mean_what_shells_with_globstar_say() {
        for (glob, path, expected) in [
            ("*.py", "a.py", true),
            ("*.py", "d/a.py", false),
            ("**/*.py", "a.py", true),
            ("**/*.py", "d/e/a.py", true),
            ("src/**", "src/a/b", true),
            ("src/**/x", "src/x", true),
            ("*.{rs,toml}", "a.toml", true),
            ("a?c", "abc", true),
            ("[a-c]*", "d", false),
            ("\\*", "*", true),
        ] {
            let pattern = Pattern::of_paths(glob).unwrap();
            assert_eq!(pattern.matches(path.as_bytes()), expected, "{glob} {path}");
        }
        assert!(Pattern::of_paths("*").unwrap().matches(b"\xff"));
        assert_eq!(Pattern::of_paths("a/*/c").unwrap().depth, 3);
        assert!(Pattern::of_paths("/etc/*").is_err());
        assert!(Pattern::of_paths("[").is_err());
    }

    #[test]
    fn a_list_matches_names_at_any_depth_and_paths_from_the_start() {
        let list = Patterns::new(&["node_modules/".into(), "docs/*.md".into()]).unwrap();
        assert!(list.matches(b"a/node_modules") && list.matches(b"docs/x.md"));
        assert!(!list.matches(b"a/docs/x.md"));
    }
}
