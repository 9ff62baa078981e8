//! The last part of a terminal's output, for those who come later.

use super::modes::Modes;
use super::parser::Parser;
use super::queries::append_without;
use std::collections::VecDeque;

/// How much is kept at least, in bytes, but for sequences longer than [`SLACK`].
pub const KEPT: usize = 256 * 1024;
/// How far beyond where a beginning is looked for: the begin of a line, else any boundary.
const SLACK: usize = 8 * 1024;
/// How much more comes in before the oldest is dropped again, so that it is not done byte by byte.
const STEP: usize = 32 * 1024;

/// Output as it came, numbered by how many bytes came before.
#[derive(Debug)]
pub struct Replay {
    kept: usize,
    slack: usize,
    step: usize,
    data: VecDeque<u8>,
    start: u64,
    /// What lies before the data, up to its start.
    parser: Parser,
    modes: Modes,
}

impl Default for Replay {
    fn default() -> Self {
        Self::new(KEPT, SLACK, STEP)
    }
}

impl Replay {
    fn new(kept: usize, slack: usize, step: usize) -> Self {
        Self {
            kept,
            slack,
            step,
            data: VecDeque::new(),
            start: 0,
            parser: Parser::default(),
            modes: Modes::default(),
        }
    }

    /// Takes what the program has written.
    pub fn push(&mut self, output: &[u8]) {
        self.data.extend(output);
        if self.data.len() > self.kept + self.slack + self.step {
            self.drop_oldest();
        }
    }

    /// Where what is kept begins: so many bytes came before.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes have come so far.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.data.len() as u64
    }

    /// Whether a program draws the whole screen by itself, but what it drew first is lost.
    #[must_use]
    pub fn needs_redraw(&self) -> bool {
        self.start > 0 && self.modes.is_alternate()
    }

    /// What came from byte `from` on, at most `most` bytes; `None` if that is no longer kept.
    #[must_use]
    pub fn since(&self, from: u64, most: usize) -> Option<Vec<u8>> {
        let skipped = usize::try_from(from.checked_sub(self.start)?).ok()?;
        let length = self.data.len().checked_sub(skipped)?.min(most);
        Some(
            self.data
                .range(skipped..skipped + length)
                .copied()
                .collect(),
        )
    }

    /// All that is kept but questions, behind what brings any terminal to where it begins.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        let mut prologue = String::new();
        Modes::write_reset(&mut prologue);
        self.modes.write(&mut prologue);
        let mut out = prologue.into_bytes();
        out.extend(self.parser.reentry());
        out.reserve_exact(self.data.len());
        append_without(self.parser.clone(), self.data.iter().copied(), &mut out);
        out
    }

    fn drop_oldest(&mut self) {
        let most = self.data.len() - self.kept;
        let least = most - self.slack;
        let mut dropped = 0;
        for &byte in &self.data {
            let line = self.parser.is_boundary() && dropped >= least;
            if line
                && (dropped >= most - self.slack / 2
                    || byte_before_is_line_end(&self.data, dropped))
            {
                break;
            }
            self.modes.apply(self.parser.advance(byte));
            dropped += 1;
        }
        self.data.drain(..dropped);
        self.start += dropped as u64;
    }
}

fn byte_before_is_line_end(data: &VecDeque<u8>, index: usize) -> bool {
    index.checked_sub(1).and_then(|i| data.get(i)) == Some(&b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pieces that must not be cut.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => any::<char>()
                .prop_filter("a control", |c| !c.is_control())
                .prop_map(|c| c.to_string().into_bytes()),
            2 => Just(b"\n".to_vec()),
            4 => "\x1b\\[\\??(1|4|5|6|7|25|31|38;2;1;2;3|47|1000|1003|1049|2004)[hlmr]"
                .prop_map(String::into_bytes),
            1 => "\x1b\\[[0-9;]{0,9}[ !]?[@-~]".prop_map(String::into_bytes),
            1 => "\x1b\\][0-9];[a-zà-ö ]{0,8}(\x07|\x1b\\\\|\u{9c})".prop_map(String::into_bytes),
            1 => "\x1b[P^_X][a-z ]{0,8}\x1b\\\\".prop_map(String::into_bytes),
            1 => "\x1b[()*+][0AB]".prop_map(String::into_bytes),
            1 => "\x1b[78=>]".prop_map(String::into_bytes),
            1 => "\x1b[NO][a-zé]".prop_map(String::into_bytes),
            1 => "[\x0e\x0f\r\x08]".prop_map(String::into_bytes),
        ]
    }

    fn modes_after(bytes: &[u8]) -> (Modes, bool) {
        let (mut parser, mut modes) = (Parser::default(), Modes::default());
        for &byte in bytes {
            modes.apply(parser.advance(byte));
        }
        (modes, parser.is_boundary())
    }

    proptest! {
        #[test]
        fn nothing_is_cut_and_all_is_known(
            pieces in prop::collection::vec(piece(), 0..300),
            cut in 1usize..40,
        ) {
            let all = pieces.concat();
            let mut replay = Replay::new(100, 60, 20);
            for chunk in all.chunks(cut) {
                replay.push(chunk);
            }
            let start = usize::try_from(replay.start()).unwrap();
            let mut ends = pieces.iter().scan(0, |sum, piece| {
                *sum += piece.len();
                Some(*sum)
            });
            prop_assert!(start == 0 || ends.any(|end| end == start), "cut at {}", start);
            prop_assert_eq!(replay.end(), all.len() as u64);
            prop_assert!(all.len() - start >= all.len().min(100));
            prop_assert_eq!(replay.since(replay.start(), usize::MAX).unwrap(), &all[start..]);
            let whole = replay.whole();
            let mut rest = Vec::new();
            append_without(Parser::default(), all[start..].iter().copied(), &mut rest);
            prop_assert!(whole.ends_with(&rest));
            prop_assert_eq!(modes_after(&whole), modes_after(&all));
        }

        #[test]
        fn any_noise_is_kept_to_its_end(noise in prop::collection::vec(any::<u8>(), 0..600)) {
            let mut replay = Replay::new(100, 60, 20);
            for chunk in noise.chunks(7) {
                replay.push(chunk);
            }
            let kept = replay.since(replay.start(), usize::MAX).unwrap();
            prop_assert!(noise.ends_with(&kept));
            prop_assert!(kept.len() <= 100 + 60 + 20);
            prop_assert_eq!(replay.since(replay.end() + 1, 1), None);
        }
    }

    #[test]
    fn lines_are_kept_whole_where_there_are_any() {
        let mut replay = Replay::default();
        while replay.start() == 0 {
            replay.push(b"a line of text\r\n");
        }
        let kept = replay.since(replay.start(), usize::MAX).unwrap();
        assert!(kept.len() >= KEPT);
        assert!(kept.starts_with(b"a line"));
    }

    #[test]
    fn a_string_without_end_is_still_one_to_who_comes_later() {
        let mut replay = Replay::new(100, 60, 20);
        replay.push(b"\x1b]0;");
        for _ in 0..100 {
            replay.push(b"never ends ");
        }
        assert!(!modes_after(&replay.whole()).1);
        replay.push(b"\x07text");
        assert!(replay.whole().ends_with(b"text"));
        assert!(modes_after(&replay.whole()).1);
    }
}
