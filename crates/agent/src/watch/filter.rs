//! Which paths a watch tells of. Globs: `*` and `?` stay within a name, `**` spans directories,
//! `{a,b}` is either, `[a-z]` one of a set; one without a slash stands for names at any depth.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The most bytes of a glob, and the most globs of a list.
const LONGEST: usize = 4096;
const MOST: usize = 200;

/// A list of globs that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidGlob {
    #[error("more than {MOST} globs")]
    TooMany,
    #[error("a glob is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the glob '{0}' is empty, or begins above the watched directory")]
    Outside(String),
    #[error("{0}")]
    Malformed(String),
}

/// What is told and what is not.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    /// Tells of what `include` names (all, if that is empty) without what `exclude` names.
    ///
    /// # Errors
    /// [`InvalidGlob`].
    pub(super) fn new(include: &[String], exclude: &[String]) -> Result<Self, InvalidGlob> {
        Ok(Self {
            include: if include.is_empty() {
                None
            } else {
                Some(set(include)?)
            },
            exclude: set(exclude)?,
        })
    }

    /// Whether a path is left out, with all below it. What lies above it is not looked at:
    /// nothing below an excluded directory is ever seen.
    pub(super) fn excludes(&self, path: &[u8]) -> bool {
        !self.exclude.is_empty() && matches(&self.exclude, path)
    }

    /// Whether a path, or a directory above it, is among what is to be told.
    fn includes(&self, path: &[u8]) -> bool {
        let Some(include) = &self.include else {
            return true;
        };
        let ends = path.iter().enumerate().filter(|(_, &byte)| byte == b'/');
        let mut above = ends.filter_map(|(end, _)| path.get(..end));
        matches(include, path) || above.any(|directory| matches(include, directory))
    }

    /// Whether a path is told of.
    pub(super) fn tells(&self, path: &[u8]) -> bool {
        self.includes(path) && !self.excludes(path)
    }

    /// Whether it is told that a path went away. What was in a directory went with it, and its
    /// names are not known: so of a directory it is told whatever `include` says.
    pub(super) fn tells_leaving(&self, path: &[u8], directory: bool) -> bool {
        (directory || self.includes(path)) && !self.excludes(path)
    }
}

fn matches(set: &GlobSet, path: &[u8]) -> bool {
    set.is_match_candidate(&Candidate::new(Path::new(OsStr::from_bytes(path))))
}

fn set(globs: &[String]) -> Result<GlobSet, InvalidGlob> {
    if globs.len() > MOST {
        return Err(InvalidGlob::TooMany);
    }
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if glob.len() > LONGEST {
            return Err(InvalidGlob::TooLong);
        }
        let inner = glob.strip_prefix("./").unwrap_or(glob).trim_matches('/');
        if inner.is_empty() || inner.split('/').any(|part| part == "..") {
            return Err(InvalidGlob::Outside(glob.clone()));
        }
        // A slash in front or within ties it to the watched directory.
        let tied = inner.contains('/') || glob.starts_with('/');
        let whole = if tied {
            inner.to_owned()
        } else {
            format!("**/{inner}")
        };
        let built = GlobBuilder::new(&whole)
            .literal_separator(true)
            .backslash_escape(true)
            .empty_alternates(true)
            .build();
        set.add(built.map_err(|error| InvalidGlob::Malformed(error.to_string()))?);
    }
    let built = set.build();
    built.map_err(|error| InvalidGlob::Malformed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let own = |globs: &[&str]| globs.iter().map(|&g| g.to_owned()).collect::<Vec<_>>();
        Filter::new(&own(include), &own(exclude)).unwrap()
    }

    #[test]
    fn globs_name_files_at_any_depth_or_from_the_root() {
        for (glob, path, expected) in [
            ("*.py", "a.py", true),
            ("*.py", "d/e/a.py", true),
            ("/*.py", "d/a.py", false),
            ("src/*.py", "src/a.py", true),
            ("src/*.py", "d/src/a.py", false),
            ("src", "src/deep/file", true),
            ("src/**", "src/deep/file", true),
            ("*.{rs,toml}", "x/Cargo.toml", true),
            ("node_modules/", "a/node_modules", true),
        ] {
            assert_eq!(
                filter(&[glob], &[]).tells(path.as_bytes()),
                expected,
                "{glob} {path}"
            );
        }
    }

    #[test]
    fn exclusion_wins_and_a_directory_that_leaves_is_told() {
        let both = filter(&["*.py"], &["test_*", ".git"]);
        assert!(both.tells(b"a/b.py"));
        assert!(!both.tells(b"a/test_b.py"));
        assert!(!both.tells_leaving(b"a/b.txt", false));
        assert!(both.tells_leaving(b"a/b", true));
        assert!(!both.tells_leaving(b"a/.git", true));
        assert!(filter(&[], &["*.o"]).tells(b"\xff"));
    }

    #[test]
    fn what_is_no_glob_is_refused() {
        for glob in ["", "/", "../x", "a/../b", "["] {
            assert!(Filter::new(&[glob.to_owned()], &[]).is_err(), "{glob}");
        }
    }

    proptest! {
        #[test]
        fn no_glob_and_no_path_is_too_odd(glob in ".{0,20}", path in prop::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(filter) = Filter::new(&[], &[glob]) {
                prop_assert_eq!(filter.tells(&path), !filter.excludes(&path));
            }
        }
    }
}
