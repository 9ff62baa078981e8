//! Where sequences and characters begin and end.

/// The most parameter bytes of one sequence that are looked at; longer ones mean nothing to
/// [`super::modes`], but their end is found all the same.
const MAX_PARAMETERS: usize = 256;

const BELL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;
/// The first byte of C1 controls in UTF-8.
const C1_LEAD: u8 = 0xc2;

/// What kind of string is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    OperatingSystem,
    Device,
    Start,
    Privacy,
    Application,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    /// Within a character that begins with `lead`; so many bytes are still to come.
    Character {
        lead: u8,
        left: u8,
    },
    /// After SS2 or SS3: the next character belongs to it.
    Shifted,
    Escape,
    Control,
    /// A string; `last` is the byte before.
    String(Text, u8),
}

/// What a byte has completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Nothing that matters here: text, or part of a sequence.
    Nothing,
    /// A C0 control, wherever it stood.
    Execute(u8),
    /// `ESC intermediates final`.
    Escape { intermediates: &'a [u8], last: u8 },
    /// `CSI parameters intermediates final`; parameters with their private prefix.
    Control {
        parameters: &'a [u8],
        intermediates: &'a [u8],
        last: u8,
    },
}

/// Follows output byte by byte.
#[derive(Clone, Debug, Default)]
pub struct Parser {
    state: State,
    /// Parameters, then intermediates, of the sequence that is open.
    collected: Vec<u8>,
    parameters: usize,
    overlong: bool,
}

impl Parser {
    /// Whether neither a sequence nor a character is open.
    #[must_use]
    pub fn is_boundary(&self) -> bool {
        self.state == State::Ground
    }

    /// Takes the next byte.
    pub fn advance(&mut self, byte: u8) -> Step<'_> {
        match byte {
            ESCAPE => {
                self.open(State::Escape);
                Step::Nothing
            }
            CANCEL | SUBSTITUTE => {
                self.state = State::Ground;
                Step::Execute(byte)
            }
            _ => match self.state {
                State::Ground => self.text(byte),
                State::Character { lead, left } => self.continuation(lead, left, byte),
                State::Shifted => self.text(byte),
                State::Escape => self.escape(byte),
                State::Control => self.control(byte),
                State::String(kind, last) => {
                    self.string(kind, last, byte);
                    Step::Nothing
                }
            },
        }
    }

    /// What brings a terminal that knows nothing into this state, as far as the state can last
    /// for long: the beginning of what is open, without its parameters.
    #[must_use]
    pub fn reentry(&self) -> &'static [u8] {
        match self.state {
            State::Ground | State::Character { .. } => b"",
            State::Shifted => b"\x1bN",
            State::Escape => b"\x1b",
            State::Control => b"\x1b[",
            State::String(Text::OperatingSystem, _) => b"\x1b]",
            State::String(Text::Device, _) => b"\x1bP",
            State::String(Text::Start, _) => b"\x1bX",
            State::String(Text::Privacy, _) => b"\x1b^",
            State::String(Text::Application, _) => b"\x1b_",
        }
    }

    fn open(&mut self, state: State) {
        self.state = state;
        self.collected.clear();
        self.parameters = 0;
        self.overlong = false;
    }

    fn text(&mut self, byte: u8) -> Step<'_> {
        let left = match byte {
            0xc2..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf4 => 3,
            _ => 0,
        };
        self.state = match left {
            0 => State::Ground,
            left => State::Character { lead: byte, left },
        };
        if byte < 0x20 {
            Step::Execute(byte)
        } else {
            Step::Nothing
        }
    }

    fn continuation(&mut self, lead: u8, left: u8, byte: u8) -> Step<'_> {
        if !matches!(byte, 0x80..=0xbf) {
            // The character broke off; this byte begins something else.
            return self.text(byte);
        }
        let left = left - 1;
        if left > 0 {
            self.state = State::Character { lead, left };
        } else if lead == C1_LEAD && byte < 0xa0 {
            // C1 controls are ESC and the letter 0x40 below.
            self.open(State::Escape);
            return self.escape(byte - 0x40);
        } else {
            self.state = State::Ground;
        }
        Step::Nothing
    }

    fn escape(&mut self, byte: u8) -> Step<'_> {
        let plain = self.collected.is_empty() && !self.overlong;
        match byte {
            0x00..=0x1f => return Step::Execute(byte),
            DELETE => {}
            0x20..=0x2f => self.collect(byte),
            b'[' if plain => self.open(State::Control),
            b']' if plain => self.open(State::String(Text::OperatingSystem, 0)),
            b'P' if plain => self.open(State::String(Text::Device, 0)),
            b'X' if plain => self.open(State::String(Text::Start, 0)),
            b'^' if plain => self.open(State::String(Text::Privacy, 0)),
            b'_' if plain => self.open(State::String(Text::Application, 0)),
            b'N' | b'O' if plain => self.state = State::Shifted,
            0x30..=0x7e => {
                self.state = State::Ground;
                if !self.overlong {
                    return Step::Escape {
                        intermediates: &self.collected,
                        last: byte,
                    };
                }
            }
            0x80.. => return self.text(byte),
        }
        Step::Nothing
    }

    fn control(&mut self, byte: u8) -> Step<'_> {
        match byte {
            0x00..=0x1f => return Step::Execute(byte),
            DELETE => {}
            0x20..=0x2f => self.collect(byte),
            0x30..=0x3f => {
                // A parameter behind an intermediate makes the sequence mean nothing.
                self.overlong |= self.parameters < self.collected.len();
                self.collect(byte);
                self.parameters = self.collected.len();
            }
            0x40..=0x7e => {
                self.state = State::Ground;
                if let (false, Some((parameters, intermediates))) = (
                    self.overlong,
                    self.collected.split_at_checked(self.parameters),
                ) {
                    return Step::Control {
                        parameters,
                        intermediates,
                        last: byte,
                    };
                }
            }
            0x80.. => return self.text(byte),
        }
        Step::Nothing
    }

    fn string(&mut self, kind: Text, last: u8, byte: u8) {
        let bell = byte == BELL && kind == Text::OperatingSystem;
        let terminator = last == C1_LEAD && byte == 0x9c;
        self.state = if bell || terminator {
            State::Ground
        } else {
            State::String(kind, byte)
        };
    }

    fn collect(&mut self, byte: u8) {
        if self.collected.len() < MAX_PARAMETERS {
            self.collected.push(byte);
        } else {
            self.overlong = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary_after(bytes: &[u8]) -> bool {
        let mut parser = Parser::default();
        for &byte in bytes {
            parser.advance(byte);
        }
        parser.is_boundary()
    }

    #[test]
    fn nothing_is_a_boundary_within_a_sequence() {
        for whole in [
            &b"\x1b[38;2;1;2;3m"[..],
            b"\x1b[?1049h",
            b"\x1b[>4;2m",
            b"\x1b[2 q",
            b"\x1b]0;title\x07",
            b"\x1b]0;title\x1b\\",
            "\u{9d}8;;http://x\u{9c}".as_bytes(),
            b"\x1bPq#0;2;0\x1b\\",
            b"\x1b_Gf=100;AAAA\x1b\\",
            b"\x1b(0",
            b"\x1bOq",
            "\x1bN€".as_bytes(),
            b"\x1b#8",
            b"\x1b[1\n;2H",
            "\u{9b}1m".as_bytes(),
            "é".as_bytes(),
            "€".as_bytes(),
            "😀".as_bytes(),
        ] {
            for cut in 1..whole.len() {
                // ESC itself ends a string, so before the last byte of ST it is an escape.
                assert!(!boundary_after(&whole[..cut]), "{whole:?} at {cut}");
            }
            assert!(boundary_after(whole), "{whole:?}");
        }
    }

    #[test]
    fn broken_sequences_end() {
        assert!(boundary_after(b"\x1b]0;never ends\x18"));
        assert!(boundary_after(b"\x1b[12\x1a"));
        assert!(boundary_after(b"\xff"));
        assert!(boundary_after(b"\xe2\x82a"));
        assert!(boundary_after(b"\x1b[1\xff"));
        assert!(!boundary_after(b"\x1bPdcs is not ended by a bell\x07"));
    }

    #[test]
    fn sequences_are_told_whole() {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        for &byte in b"a\x1b[?25;1$p\x1b(B" {
            match parser.advance(byte) {
                Step::Control {
                    parameters,
                    intermediates,
                    last,
                } => seen.push((parameters.to_vec(), intermediates.to_vec(), last)),
                Step::Escape {
                    intermediates,
                    last,
                } => seen.push((vec![], intermediates.to_vec(), last)),
                Step::Execute(_) | Step::Nothing => {}
            }
        }
        assert_eq!(
            seen,
            [
                (b"?25;1".to_vec(), b"$".to_vec(), b'p'),
                (vec![], b"(".to_vec(), b'B')
            ]
        );
    }
}
