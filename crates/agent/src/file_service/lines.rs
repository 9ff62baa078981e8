//! The lines of a file that match, one after another, in bounded memory.

use regex::bytes::Regex;
use serde::Serialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use wardian_wire::path_text::PathText;

/// How much of a file is read at once, in bytes.
const CHUNK: usize = 128 * 1024;
/// A longer line is looked at in pieces of this size.
const LONGEST: usize = 1024 * 1024;
/// How much of a line is told, in bytes.
const SHOWN: usize = 4096;
/// How much stands in front of the match then.
const LEAD: usize = 1024;
/// The most matches within a line that are told.
const MOST_RANGES: usize = 32;

/// What is looked for in each line.
#[derive(Clone, Debug)]
pub(super) struct Sought {
    pub(super) regex: Regex,
    /// Where it matches in a line, it also matches in the lines around it read as one text.
    pub(super) spans: bool,
}

/// A line of a file.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    /// From 1.
    line: u64,
    text: String,
}

/// A line that matches.
#[derive(Debug, Serialize)]
pub(super) struct Hit {
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_b64: Option<String>,
    line: u64,
    /// Where the first match begins, in characters from 1.
    column: usize,
    text: String,
    /// The matches within `text`, in characters from 0.
    ranges: Vec<(usize, usize)>,
    /// `text` is a part of a longer line.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    before: Vec<Line>,
    after: Vec<Line>,
}

/// A file being searched.
pub(super) struct Lines {
    file: File,
    path: PathText,
    buffer: Vec<u8>,
    /// What of the buffer has been looked at.
    at: usize,
    number: u64,
    ended: bool,
    /// More has been read than was looked at as a whole.
    fresh: bool,
    context: usize,
    before: VecDeque<Line>,
    /// Hits that wait for the lines behind them, the oldest first.
    waiting: VecDeque<Hit>,
    /// Whether the file has been found to be no text.
    pub(super) binary: bool,
}

impl Lines {
    pub(super) fn new(file: File, path: PathText, context: usize) -> Self {
        Self {
            file,
            path,
            buffer: Vec::new(),
            at: 0,
            number: 0,
            ended: false,
            fresh: false,
            context,
            before: VecDeque::new(),
            waiting: VecDeque::new(),
            binary: false,
        }
    }

    /// Looks at the next line; hits whose context is complete go to `hits`. `false` at the end.
    ///
    /// # Errors
    /// What reading the file leads to.
    pub(super) fn step(&mut self, sought: &Sought, hits: &mut Vec<Hit>) -> io::Result<bool> {
        let regex = &sought.regex;
        if sought.spans && self.context == 0 && std::mem::take(&mut self.fresh) {
            self.pass_over(regex);
        }
        let Some((start, end, next)) = self.next_line()? else {
            hits.extend(self.waiting.drain(..));
            return Ok(false);
        };
        self.number += 1;
        let line = &self.buffer[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let hit = regex
            .find(line)
            .map(|first| self.hit(line, first.start(), regex));
        if self.context > 0 {
            let plain = Line {
                line: self.number,
                text: shown(line, 0).0,
            };
            for hit in &mut self.waiting {
                hit.after.push(plain.clone());
            }
            while self
                .waiting
                .front()
                .is_some_and(|h| h.after.len() >= self.context)
            {
                hits.extend(self.waiting.pop_front());
            }
            if self.before.len() == self.context {
                self.before.pop_front();
            }
            self.before.push_back(plain);
            self.waiting.extend(hit);
        } else {
            hits.extend(hit);
        }
        self.at = next;
        Ok(true)
    }

    /// Passes over what has been read at once if nothing in it matches, which is found out much
    /// faster than line by line.
    fn pass_over(&mut self, regex: &Regex) {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let whole = memchr::memrchr(b'\n', rest).map_or(0, |last| last + 1);
        let lines = rest.get(..whole).unwrap_or_default();
        if !regex.is_match(lines) {
            let count = memchr::memchr_iter(b'\n', lines).count();
            self.number += count as u64;
            self.at += whole;
        }
    }

    /// Where the next line begins and ends, and where the one behind it begins.
    fn next_line(&mut self) -> io::Result<Option<(usize, usize, usize)>> {
        let mut searched = self.at;
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', rest) {
                let end = searched + length;
                return Ok(Some((self.at, end, end + 1)));
            }
            let end = self.buffer.len();
            if end - self.at >= LONGEST || (self.ended && self.at < end) {
                return Ok(Some((self.at, end, end)));
            }
            if self.ended {
                return Ok(None);
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            searched = self.buffer.len();
            let filled = (&mut self.file)
                .take(CHUNK as u64)
                .read_to_end(&mut self.buffer)?;
            self.ended = filled < CHUNK;
            self.fresh = true;
            if self.number == 0 && memchr::memchr(0, &self.buffer).is_some() {
                self.binary = true;
                return Ok(None);
            }
        }
    }

    fn hit(&self, line: &[u8], first: usize, regex: &Regex) -> Hit {
        let (text, start) = shown(line, first);
        let part = &line[start..line.len().min(start + SHOWN)];
        let matches = regex.find_iter(line).skip_while(|m| m.start() < start);
        let matches = matches.take_while(|m| m.end() <= start + part.len());
        let characters = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count();
        let ranges = matches.take(MOST_RANGES).map(|m| {
            let (from, to) = (m.start() - start, m.end() - start);
            let begin = characters(&part[..from]);
            (begin, begin + characters(&part[from..to]))
        });
        Hit {
            path: self.path.text.clone(),
            path_b64: self.path.base64.clone(),
            line: self.number,
            column: characters(&line[..first]) + 1,
            ranges: ranges.collect(),
            text,
            cut: part.len() < line.len(),
            before: self.before.iter().cloned().collect(),
            after: Vec::new(),
        }
    }
}

/// What is told of a line around `first`, and where that begins.
fn shown(line: &[u8], first: usize) -> (String, usize) {
    let mut start = if line.len() > SHOWN {
        first.saturating_sub(LEAD)
    } else {
        0
    };
    // Not in the middle of a character.
    while start > 0 && line.get(start).is_some_and(|b| b & 0xc0 == 0x80) {
        start -= 1;
    }
    let part = &line[start..line.len().min(start + SHOWN)];
    (String::from_utf8_lossy(part).into_owned(), start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Seek, Write};

    fn search(content: &[u8], pattern: &str, context: usize) -> Vec<Hit> {
        let mut file = tempfile();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let mut lines = Lines::new(file, PathText::new(b"x"), context);
        let sought = Sought {
            regex: Regex::new(pattern).unwrap(),
            spans: true,
        };
        let mut hits = Vec::new();
        while lines.step(&sought, &mut hits).unwrap() {}
        hits
    }

    fn tempfile() -> File {
        use rustix::fs::{memfd_create, MemfdFlags};
        memfd_create("lines", MemfdFlags::CLOEXEC).unwrap().into()
    }

    #[test]
    fn lines_are_numbered_and_have_context() {
        let hits = search(b"a\nfound \xc3\xbcx x\r\nb\nx\n", "x", 1);
        assert_eq!(hits.len(), 2);
        assert_eq!((hits[0].line, hits[0].column), (2, 8));
        assert_eq!(hits[0].text, "found üx x");
        assert_eq!(hits[0].ranges, [(7, 8), (9, 10)]);
        assert_eq!(hits[0].before[0].text, "a");
        assert_eq!(hits[0].after[0].text, "b");
        assert!(hits[1].after.is_empty());
    }

    #[test]
    fn a_long_line_is_cut_around_its_match() {
        let line = [
            vec![b'-'; 3_000_000],
            b"needle".to_vec(),
            vec![b'-'; 100_000],
        ]
        .concat();
        let hits = search(&line, "needle", 0);
        assert_eq!(hits.len(), 1);
        assert!(hits[0].cut && hits[0].text.len() <= SHOWN);
        let (from, to) = hits[0].ranges[0];
        assert_eq!(&hits[0].text[from..to], "needle");
    }

    #[test]
    fn what_holds_a_zero_is_no_text() {
        assert!(search(b"x\nx\0x\n", "x", 0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn as_many_lines_match_as_hold_it(
            lines in prop::collection::vec("[a-c]{0,5}", 0..60),
            copies in 1usize..600,
            context in 0usize..2,
        ) {
            let lines = vec![lines.join("\n"); copies];
            let content = lines.join("\n");
            let expected: Vec<u64> = (1..).zip(content.lines())
                .filter(|(_, line)| line.contains('a')).map(|(number, _)| number).collect();
            let found: Vec<u64> = search(content.as_bytes(), "a", context).iter().map(|h| h.line).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
