//! Looking for a line in a log.

use regex::bytes::{Regex, RegexBuilder};
use wardian_wire::log::{Kind, Records};

/// A longer line is looked at in pieces of so many bytes.
const LONGEST_LINE: usize = 64 * 1024;
/// The longest pattern, and the most memory one may take, in bytes. Matching takes time linear in
/// the line in any case.
const LONGEST_PATTERN: usize = 4 * 1024;
const PATTERN_MEMORY: usize = 1024 * 1024;

/// What each group of a regular expression matched.
type Groups = Vec<Option<Vec<u8>>>;

/// What is looked for.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    Text(Vec<u8>),
    Regex(Regex),
}

impl Pattern {
    /// A regular expression.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn regex(pattern: &str) -> Result<Self, String> {
        if pattern.len() > LONGEST_PATTERN {
            return Err(format!("it is longer than {LONGEST_PATTERN} bytes"));
        }
        let mut builder = RegexBuilder::new(pattern);
        builder
            .size_limit(PATTERN_MEMORY)
            .dfa_size_limit(PATTERN_MEMORY);
        builder.build().map(Self::Regex).map_err(|e| e.to_string())
    }

    fn look(&self, line: &[u8]) -> Option<(Vec<u8>, Groups)> {
        match self {
            Self::Text(text) => contains(line, text).then(|| (text.clone(), Vec::new())),
            Self::Regex(regex) => {
                let captures = regex.captures(line)?;
                let mut groups = captures
                    .iter()
                    .map(|group| group.map(|m| m.as_bytes().to_vec()));
                Some((groups.next()??, groups.collect()))
            }
        }
    }
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    text.is_empty() || line.windows(text.len()).any(|window| window == text)
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) line: Vec<u8>,
    pub(super) matched: Vec<u8>,
    pub(super) groups: Groups,
    /// Of the record the line ends in.
    pub(super) cursor: u64,
}

/// A search that goes on from record to record; lines of the two outputs are kept apart.
#[derive(Debug)]
pub(super) struct Search {
    pattern: Pattern,
    outputs: [Option<Kind>; 2],
    unfinished: [(Vec<u8>, u64); 2],
}

impl Search {
    /// Looks for `pattern` in one output, or in both.
    pub(super) fn new(pattern: Pattern, only: Option<Kind>) -> Self {
        let wanted = |kind| only.is_none_or(|only| only == kind).then_some(kind);
        Self {
            pattern,
            outputs: [wanted(Kind::Stdout), wanted(Kind::Stderr)],
            unfinished: Default::default(),
        }
    }

    /// Looks through whole records, the first of which has the cursor `at`.
    pub(super) fn feed(&mut self, records: &[u8], at: u64) -> Option<Found> {
        for (header, payload) in Records::new(records, at).flatten() {
            let output = self.outputs.iter().position(|o| *o == Some(header.kind));
            if let Some(output) = output {
                let found = self.feed_output(output, payload, header.cursor);
                if found.is_some() {
                    return found;
                }
            }
        }
        None
    }

    fn feed_output(&mut self, output: usize, payload: &[u8], cursor: u64) -> Option<Found> {
        for piece in payload.split_inclusive(|&b| b == b'\n') {
            let whole = piece.strip_suffix(b"\n");
            let (pending, last) = self.unfinished.get_mut(output)?;
            *last = cursor;
            let found = if pending.is_empty() && whole.is_some() {
                look(&self.pattern, piece, cursor)
            } else {
                pending.extend(piece);
                if whole.is_none() && pending.len() < LONGEST_LINE {
                    continue;
                }
                let line = std::mem::take(pending);
                look(&self.pattern, &line, cursor)
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether a line has begun and not ended.
    pub(super) fn has_unfinished(&self) -> bool {
        self.unfinished.iter().any(|(line, _)| !line.is_empty())
    }

    /// Looks at lines that have not ended.
    pub(super) fn look_at_unfinished(&self) -> Option<Found> {
        self.unfinished
            .iter()
            .filter(|(line, _)| !line.is_empty())
            .find_map(|(line, cursor)| look(&self.pattern, line, *cursor))
    }
}

fn look(pattern: &Pattern, line: &[u8], cursor: u64) -> Option<Found> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (matched, groups) = pattern.look(line)?;
    Some(Found {
        line: line.to_vec(),
        matched,
        groups,
        cursor,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wardian_wire::log::append;

    fn records(pieces: &[(Kind, &[u8])]) -> Vec<u8> {
        let (mut bytes, mut cursor) = (Vec::new(), 0);
        for (kind, piece) in pieces {
            cursor = append(&mut bytes, *kind, cursor, 0, piece);
        }
        bytes
    }

    fn regex(pattern: &str) -> Search {
        Search::new(Pattern::regex(pattern).unwrap(), None)
    }

    proptest! {
        #[test]
        fn a_line_is_found_however_it_is_cut(cuts in prop::collection::vec(1usize..9, 1..9)) {
            let text = b"first\nready on port 8080\r\nlast\n";
            let mut pieces = Vec::new();
            let (mut rest, mut cuts) = (&text[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                pieces.push((Kind::Stdout, piece));
                rest = after;
            }
            let found = regex(r"port (\d+)$").feed(&records(&pieces), 0).unwrap();
            prop_assert_eq!(found.line, b"ready on port 8080");
            prop_assert_eq!(found.groups, vec![Some(b"8080".to_vec())]);
        }
    }

    #[test]
    fn the_two_outputs_are_not_mixed() {
        let pieces: [(Kind, &[u8]); 4] = [
            (Kind::Stdout, b"rea"),
            (Kind::Stderr, b"x\n"),
            (Kind::Mark, b"ready\n"),
            (Kind::Stdout, b"dy\n"),
        ];
        let bytes = records(&pieces);
        let found = regex("^ready$").feed(&bytes, 0).unwrap();
        assert_eq!(found.line, b"ready");
        let mut errors = Search::new(Pattern::Text(b"ready".to_vec()), Some(Kind::Stderr));
        assert_eq!(errors.feed(&bytes, 0), None);
    }

    #[test]
    fn an_unfinished_line_waits_to_be_asked_for() {
        let mut search = regex("password:");
        assert_eq!(
            search.feed(&records(&[(Kind::Stdout, b"password: ")]), 0),
            None
        );
        assert!(search.has_unfinished());
        assert_eq!(search.look_at_unfinished().unwrap().line, b"password: ");
    }

    #[test]
    fn a_line_without_end_is_looked_at_in_pieces() {
        let mut search = regex("^needle$");
        for n in 0..100 {
            let mut bytes = Vec::new();
            append(&mut bytes, Kind::Stdout, n, 0, &[b'x'; 10_000]);
            assert_eq!(search.feed(&bytes, n), None);
        }
        assert!(search.unfinished[0].0.len() < LONGEST_LINE + 10_000);
    }

    #[test]
    fn patterns_are_bounded() {
        assert!(Pattern::regex("(").is_err());
        assert!(Pattern::regex(&"x".repeat(5000)).is_err());
        assert!(Pattern::regex(r"\w{1000}{1000}").is_err());
    }
}
