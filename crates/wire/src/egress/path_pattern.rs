//! Globs over the paths of requests.
//!
//! A server may see more in a path than stands there, and undo it: dot segments, doubled slashes,
//! encoded slashes and dots. What holds any of these is read in no way here but refused, before a
//! rule that asks about paths could be answered wrongly.

use std::borrow::Cow;

/// The longest glob, in bytes.
pub const MAX_PATTERN: usize = 1024;
/// The longest path that is held against globs, in bytes.
pub const MAX_PATH: usize = 16 * 1024;

/// A glob: `*` stands for anything within a segment, `**` for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(Vec<Part>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    Segment,
    Everything,
    /// `/**/`, which also stands for `/` alone.
    Between,
}

/// A path that has one meaning, in the form that globs are held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainPath<'a>(Cow<'a, str>);

/// The text is no glob over paths.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a glob of at most {MAX_PATTERN} bytes that begins with a slash or *, without ?, #, dot segments or doubled slashes")]
pub struct InvalidPathPattern;

/// The path can be read in more than one way.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the path has dot segments, doubled slashes, encoded slashes or dots, or is too long")]
pub struct AmbiguousPath;

impl PathPattern {
    /// Reads a glob.
    ///
    /// # Errors
    /// [`InvalidPathPattern`].
    pub fn parse(text: &str) -> Result<Self, InvalidPathPattern> {
        let begins = text.starts_with('/') || text.starts_with('*');
        if !begins || text.len() > MAX_PATTERN {
            return Err(InvalidPathPattern);
        }
        // Anything a star could stand for does for the check.
        let example = text.replace('*', "x");
        let example = example.strip_prefix('/').unwrap_or(&example);
        if PlainPath::parse(&format!("/{example}")).is_err() {
            return Err(InvalidPathPattern);
        }
        let text = decode_unreserved(text);
        let mut parts = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            let (part, behind) = if let Some(behind) = rest.strip_prefix(b"/**/") {
                (Part::Between, behind)
            } else if let Some(behind) = rest.strip_prefix(b"**") {
                (Part::Everything, behind)
            } else if first == b'*' {
                (Part::Segment, after)
            } else {
                (Part::Byte(first), after)
            };
            parts.push(part);
            rest = behind;
        }
        Ok(Self(parts))
    }

    /// Whether the whole path is one that the glob stands for.
    #[must_use]
    pub fn matches(&self, path: &PlainPath<'_>) -> bool {
        self.matches_bytes(path.0.as_bytes())
    }

    /// Follows every way through the glob at once, so that no path makes it slow.
    fn matches_bytes(&self, path: &[u8]) -> bool {
        let mut states = vec![false; self.0.len() + 1];
        let mut next = states.clone();
        self.enter(&mut states, 0);
        for &byte in path {
            next.fill(false);
            for (state, part) in self.0.iter().enumerate() {
                if !states[state] {
                    continue;
                }
                match part {
                    Part::Byte(own) if *own == byte => self.enter(&mut next, state + 1),
                    Part::Segment if byte != b'/' => self.enter(&mut next, state),
                    Part::Everything => self.enter(&mut next, state),
                    Part::Between => {
                        next[state] = true;
                        if byte == b'/' {
                            self.enter(&mut next, state + 1);
                        }
                    }
                    Part::Byte(_) | Part::Segment => {}
                }
            }
            std::mem::swap(&mut states, &mut next);
        }
        states.last() == Some(&true)
    }

    /// Notes that the glob may be at `state`, and wherever a star that stands for nothing leads.
    fn enter(&self, states: &mut [bool], mut state: usize) {
        states[state] = true;
        while matches!(self.0.get(state), Some(Part::Segment | Part::Everything)) {
            state += 1;
            states[state] = true;
        }
    }
}

impl<'a> PlainPath<'a> {
    /// Checks the path of a request, without its query. Encoded letters, digits, `-`, `_` and `~`
    /// mean what they stand for (RFC 3986, 6.2.2).
    ///
    /// # Errors
    /// [`AmbiguousPath`].
    pub fn parse(path: &'a str) -> Result<Self, AmbiguousPath> {
        let fits = path.len() <= MAX_PATH
            && path.starts_with('/')
            && path
                .bytes()
                .all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'?' | b'#'));
        if !fits || has_odd_encoding(path.as_bytes()) {
            return Err(AmbiguousPath);
        }
        let decoded = decode_unreserved(path);
        let mut segments = decoded[1..].split('/').peekable();
        while let Some(segment) = segments.next() {
            // Some servers drop what follows a semicolon first.
            let name = segment.split(';').next().unwrap_or_default();
            let doubled = segment.is_empty() && segments.peek().is_some();
            if doubled || matches!(name, "." | "..") {
                return Err(AmbiguousPath);
            }
        }
        Ok(Self(decoded))
    }
}

/// Whether something is encoded that must not be, or in a way that is none. Encoding twice does
/// not make it better.
fn has_odd_encoding(path: &[u8]) -> bool {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = &rest[at + 1..];
        let mut digits = rest;
        while let Some(behind) = digits.strip_prefix(b"25") {
            digits = behind;
        }
        let once = digits.len() == rest.len();
        match hex_byte(digits) {
            Some(0..=0x1f | b'.' | b'/' | b'\\' | 0x7f) => return true,
            None if once => return true,
            Some(_) | None => {}
        }
    }
    false
}

fn decode_unreserved(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, behind)) = rest.split_once('%') {
        decoded.push_str(before);
        match hex_byte(behind.as_bytes()) {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') => {
                decoded.push(char::from(byte));
                rest = &behind[2..];
            }
            Some(byte) => {
                decoded.push_str(&format!("%{byte:02X}"));
                rest = &behind[2..];
            }
            None => {
                decoded.push('%');
                rest = behind;
            }
        }
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let path = PlainPath::parse(path).unwrap();
        PathPattern::parse(pattern).unwrap().matches(&path)
    }

    proptest! {
        #[test]
        fn a_path_matches_itself_and_everything(path in "(/[a-z0-9._~!$&'()+,;=:@-]{1,8}){0,6}/?") {
            let path = format!("/{path}").replace("//", "/");
            if PlainPath::parse(&path).is_ok() {
                prop_assert!(matches(&path, &path) && matches("**", &path) && matches("/**", &path));
            }
        }

        #[test]
        fn never_panics_and_plain_paths_hold_nothing_odd(text in "/\\PC{0,60}|(/|\\.|%2[EFef]|%25|a|;|\\*){0,20}") {
            let _ = PathPattern::parse(&text);
            if let Ok(path) = PlainPath::parse(&text) {
                let path = path.0.to_ascii_lowercase();
                for odd in ["//", "%2e", "%2f", "%5c", "/../", "/./", "\\"] {
                    prop_assert!(!path.contains(odd), "{}", path);
                }
            }
        }

        #[test]
        fn a_star_stays_within_its_segment(one in "[a-z]{0,6}", two in "[a-z]{1,6}") {
            let (short, long) = (format!("/v1/{one}"), format!("/v1/{two}/{two}"));
            prop_assert!(matches("/v1/*", &short) && !matches("/v1/*", &long));
            prop_assert!(matches("/v1/**", &short) && matches("/v1/**", &long));
            prop_assert!(matches("/v1/**/*", &long) && matches("/**/v1/**", &long));
        }
    }

    #[test]
    fn globs_stand_for_whole_paths() {
        assert!(matches("/repos/*/issues", "/repos/wardian/issues"));
        assert!(!matches("/repos/*/issues", "/repos/wardian/issues/1"));
        assert!(!matches("/repos/*/issues", "/repos/a/b/issues"));
        assert!(matches("/a/**/z", "/a/z") && matches("/a/**/z", "/a/b/c/z"));
        assert!(!matches("/a/**/z", "/az") && !matches("/a", "/a/"));
        assert!(matches("/*.json", "/x.json") && !matches("/*.json", "/x.jsonp"));
        assert!(matches("/%61dmin/**", "/admin/x") && matches("/admin/**", "/%61d%6Din/x"));
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_PATH));
        for path in [
            "",
            "*",
            "a",
            "//",
            "/a//b",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/..;x/b",
            "/a%2fb",
            "/a%2Fb",
            "/%2e%2e/b",
            "/a%5cb",
            "/a\\b",
            "/a%252fb",
            "/a%25252Eb",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%00",
            "/a b",
            "/é",
            "/a?b",
            &long,
        ] {
            assert_eq!(PlainPath::parse(path), Err(AmbiguousPath), "{path}");
        }
        for path in [
            "/",
            "/a/",
            "/.well-known/x",
            "/a..b",
            "/a%20b",
            "/a%25b",
            "/100%25",
            "/a;b=c",
        ] {
            assert!(PlainPath::parse(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_glob_that_no_path_could_match_is_refused() {
        for text in [
            "",
            "a",
            "/a//b",
            "/../a",
            "/a?b",
            "/a b",
            "/%2e",
            &"/a".repeat(600),
        ] {
            assert_eq!(PathPattern::parse(text), Err(InvalidPathPattern), "{text}");
        }
    }
}
