//! What is in force: everything an escape sequence sets that outlasts the screen's contents.

use super::parser::Step;
use super::sgr::Rendition;
use std::fmt::Write;

/// DEC private modes that are on or off, and whether they are on at first. Not here: the screen
/// and the mouse, of which one of several is in force, and 2026 (synchronized output), which a
/// program that was cut off would leave on.
const PRIVATE: [(u16, bool); 17] = [
    (1, false),
    (5, false),
    (6, false),
    (7, true),
    (12, false),
    (25, true),
    (45, false),
    (66, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1007, false),
    (1015, false),
    (1016, false),
    (1036, false),
    (2004, false),
    (2031, false),
];
/// What DECSTR sets back beside the rest: cursor keys, origin, wrapping, cursor, keypad.
const SOFT: [u16; 5] = [1, 6, 7, 25, 66];
/// Modes of ECMA-48: insert, new line.
const ANSI: [u16; 2] = [4, 20];
/// What mouse reports are wanted: one of these at a time.
const MOUSE: [u16; 4] = [9, 1000, 1002, 1003];

/// What DECSC saves, as far as it is known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Saved {
    rendition: Rendition,
    charsets: [u8; 4],
    shift: u8,
}

/// All that is in force at one point of the output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    rendition: Rendition,
    /// One bit for each of [`PRIVATE`] that is not as at first.
    private: u32,
    /// One bit for each of [`ANSI`] that is on.
    ansi: u8,
    /// 0, or that of [`MOUSE`] that is in force.
    mouse: u16,
    /// 0, or the mode that has switched to the alternate screen.
    alternate: u16,
    application_keypad: bool,
    /// The letter each of G0 to G3 was set to; 0: as at first.
    charsets: [u8; 4],
    /// Which of them is used.
    shift: u8,
    /// First and last line that scroll, as they were given.
    margins: Option<(u16, u16)>,
    cursor_style: u16,
    modify_other_keys: u16,
    /// Of the main and of the alternate screen.
    saved: [Saved; 2],
}

fn numbers(parameters: &[u8]) -> impl Iterator<Item = u16> + '_ {
    parameters.split(|&b| b == b';').map(|parameter| {
        let text = std::str::from_utf8(parameter).unwrap_or("");
        text.parse().unwrap_or(0)
    })
}

impl Modes {
    /// Whether the alternate screen is shown: a program draws the whole of it.
    #[must_use]
    pub fn is_alternate(&self) -> bool {
        self.alternate != 0
    }

    /// Does what a byte has completed.
    pub fn apply(&mut self, step: Step<'_>) {
        match step {
            Step::Nothing => {}
            Step::Execute(0x0e) => self.shift = 1,
            Step::Execute(0x0f) => self.shift = 0,
            Step::Execute(_) => {}
            Step::Escape {
                intermediates,
                last,
            } => self.escape(intermediates, last),
            Step::Control {
                parameters,
                intermediates,
                last,
            } => self.control(parameters, intermediates, last),
        }
    }

    fn escape(&mut self, intermediates: &[u8], last: u8) {
        match (intermediates, last) {
            (b"", b'c') => *self = Self::default(),
            (b"", b'=') => self.application_keypad = true,
            (b"", b'>') => self.application_keypad = false,
            (b"", b'7') => self.save(),
            (b"", b'8') => self.restore(),
            (b"", b'n') => self.shift = 2,
            (b"", b'o') => self.shift = 3,
            ([set @ b'('..=b'+'], letter) => {
                if let Some(charset) = self.charsets.get_mut(usize::from(set - b'(')) {
                    *charset = if letter == b'B' { 0 } else { letter };
                }
            }
            _ => {}
        }
    }

    fn control(&mut self, parameters: &[u8], intermediates: &[u8], last: u8) {
        match (parameters.split_first(), intermediates, last) {
            (Some((b'?', modes)), b"", b'h' | b'l') => {
                for mode in numbers(modes) {
                    self.private(mode, last == b'h');
                }
            }
            (Some((b'>', keys)), b"", b'm') => {
                let mut keys = numbers(keys);
                match keys.next() {
                    Some(4) => self.modify_other_keys = keys.next().unwrap_or(0),
                    Some(0) => self.modify_other_keys = 0,
                    _ => {}
                }
            }
            (Some((b'<'..=b'?', _)), ..) => {}
            (_, b"", b'h' | b'l') => {
                for mode in numbers(parameters) {
                    if let Some(bit) = ANSI.iter().position(|&known| known == mode) {
                        self.ansi = self.ansi & !(1 << bit) | u8::from(last == b'h') << bit;
                    }
                }
            }
            (_, b"", b'm') => self.rendition.apply(parameters),
            (_, b"", b'r') => {
                let mut lines = numbers(parameters);
                let given = (lines.next().unwrap_or(0), lines.next().unwrap_or(0));
                self.margins = (given != (0, 0)).then_some(given);
            }
            (_, b"", b's') => self.save(),
            (_, b"", b'u') => self.restore(),
            (_, b" ", b'q') => self.cursor_style = numbers(parameters).next().unwrap_or(0),
            (_, b"!", b'p') => self.soft_reset(),
            _ => {}
        }
    }

    fn private(&mut self, mode: u16, on: bool) {
        match mode {
            47 | 1047 => self.show(if on { mode } else { 0 }),
            1048 if on => self.save(),
            1048 => self.restore(),
            1049 if on => {
                if self.alternate == 0 {
                    self.save();
                }
                self.show(mode);
            }
            1049 => {
                self.show(0);
                self.restore();
            }
            _ if MOUSE.contains(&mode) => self.mouse = if on { mode } else { 0 },
            _ => {
                let known = PRIVATE.iter().position(|&(known, _)| known == mode);
                if let Some((bit, &(_, first))) = known.and_then(|i| Some((i, PRIVATE.get(i)?))) {
                    self.private = self.private & !(1 << bit) | u32::from(on != first) << bit;
                }
            }
        }
    }

    fn show(&mut self, alternate: u16) {
        if (self.alternate == 0) != (alternate == 0) {
            // Each program saves on its alternate screen for itself.
            self.saved[1] = Saved::default();
        }
        self.alternate = alternate;
    }

    fn save(&mut self) {
        self.saved[usize::from(self.is_alternate())] = Saved {
            rendition: self.rendition,
            charsets: self.charsets,
            shift: self.shift,
        };
    }

    fn restore(&mut self) {
        let saved = self.saved[usize::from(self.is_alternate())];
        self.rendition = saved.rendition;
        self.charsets = saved.charsets;
        self.shift = saved.shift;
    }

    fn soft_reset(&mut self) {
        for (bit, (mode, _)) in PRIVATE.iter().enumerate() {
            if SOFT.contains(mode) {
                self.private &= !(1 << bit);
            }
        }
        self.ansi = 0;
        self.application_keypad = false;
        self.charsets = [0; 4];
        self.shift = 0;
        self.margins = None;
        self.rendition = Rendition::default();
        self.saved[usize::from(self.is_alternate())] = Saved::default();
    }

    /// Writes what brings any terminal, whatever it was in the middle of, to an empty screen with
    /// everything as at first. What has scrolled out of sight there stays.
    pub fn write_reset(out: &mut String) {
        // CAN ends any sequence that is open.
        out.push_str("\x18\x1b[?1049l\x1b[!p\x1b[?9;1000;1002;1003l");
        for (mode, on) in PRIVATE {
            let _ = write!(out, "\x1b[?{mode}{}", if on { 'h' } else { 'l' });
        }
        out.push_str("\x1b[4l\x1b[20l\x1b>\x1b[r\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b[0 q\x1b[>4;0m");
        out.push_str("\x1b[m\x1b[H\x1b[2J");
    }

    /// Writes what brings a terminal from where [`Modes::write_reset`] leaves it to where these
    /// modes are in force.
    pub fn write(&self, out: &mut String) {
        // First what was saved on the main screen, for when the program goes back to it; 1049
        // itself saves what is in force.
        if self.is_alternate() {
            self.saved[0].write_in_force(out);
            if self.alternate != 1049 && self.saved[0] != Saved::default() {
                out.push_str("\x1b7");
            }
            let _ = write!(out, "\x1b[?{}h{}", self.alternate, Saved::DEFAULT);
            out.push_str("\x1b[H\x1b[2J");
        }
        self.saved[usize::from(self.is_alternate())].write(out);
        if let Some((top, bottom)) = self.margins {
            let _ = write!(out, "\x1b[{top};{bottom}r");
        }
        for (bit, (mode, first)) in PRIVATE.iter().enumerate() {
            if self.private & (1 << bit) != 0 {
                let _ = write!(out, "\x1b[?{mode}{}", if *first { 'l' } else { 'h' });
            }
        }
        for (bit, mode) in ANSI.iter().enumerate() {
            if self.ansi & (1 << bit) != 0 {
                let _ = write!(out, "\x1b[{mode}h");
            }
        }
        if self.mouse != 0 {
            let _ = write!(out, "\x1b[?{}h", self.mouse);
        }
        if self.application_keypad {
            out.push_str("\x1b=");
        }
        if self.cursor_style != 0 {
            let _ = write!(out, "\x1b[{} q", self.cursor_style);
        }
        if self.modify_other_keys != 0 {
            let _ = write!(out, "\x1b[>4;{}m", self.modify_other_keys);
        }
        let now = Saved {
            rendition: self.rendition,
            charsets: self.charsets,
            shift: self.shift,
        };
        now.write_in_force(out);
    }
}

impl Saved {
    /// What brings rendition and character sets to how they are at first.
    const DEFAULT: &'static str = "\x1b[m\x1b(B\x1b)B\x1b*B\x1b+B\x0f";

    /// Writes what saves these in a terminal and leaves it as it was before.
    fn write(&self, out: &mut String) {
        if *self == Self::default() {
            return;
        }
        self.write_in_force(out);
        let _ = write!(out, "\x1b7{}", Self::DEFAULT);
    }

    fn write_in_force(&self, out: &mut String) {
        for (set, charset) in (b'('..=b'+').zip(self.charsets) {
            if charset != 0 {
                out.extend(['\x1b', char::from(set), char::from(charset)]);
            }
        }
        out.push_str(match self.shift {
            0 => "",
            1 => "\x0e",
            2 => "\x1bn",
            _ => "\x1bo",
        });
        self.rendition.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vt::parser::Parser;

    fn after(bytes: &[u8]) -> Modes {
        let (mut parser, mut modes) = (Parser::default(), Modes::default());
        for &byte in bytes {
            modes.apply(parser.advance(byte));
        }
        modes
    }

    fn written(bytes: &[u8]) -> String {
        let mut out = String::new();
        after(bytes).write(&mut out);
        out
    }

    #[test]
    fn what_is_set_is_written() {
        assert_eq!(written(b"plain \x1b[31mred\x1b[m text\r\n"), "");
        assert_eq!(written(b"\x1b[?2004h\x1b[?25l"), "\x1b[?25l\x1b[?2004h");
        assert_eq!(written(b"\x1b[?1000;1006h"), "\x1b[?1006h\x1b[?1000h");
        assert_eq!(written(b"\x1b[?1002h\x1b[?1000l"), "");
        assert_eq!(written(b"\x1b[3;10r\x1b[?6h"), "\x1b[3;10r\x1b[?6h");
        assert_eq!(written(b"\x1b[2 q\x1b="), "\x1b=\x1b[2 q");
        assert_eq!(written(b"\x1b(0\x0e"), "\x1b(0\x0e");
        assert_eq!(written(b"\x1b[>4;2m"), "\x1b[>4;2m");
        assert!(written(b"\x1b[?1049h").starts_with("\x1b[?1049h"));
        assert_eq!(written(b"\x1b[?1049h\x1b[?1049l"), "");
    }

    #[test]
    fn what_was_saved_comes_back() {
        assert_eq!(
            written(b"\x1b[1m\x1b7\x1b[m\x1b8"),
            written(b"\x1b[1m\x1b7")
        );
        assert_eq!(
            written(b"\x1b[1m\x1b[?1049h\x1b[m\x1b[?1049l"),
            written(b"\x1b[1m\x1b7")
        );
    }

    #[test]
    fn resets_reset() {
        let all = b"\x1b[1m\x1b[?25l\x1b[?2004h\x1b=\x1b[2;3r\x1b(0\x1b[4h";
        assert_eq!(written(&[all, &b"\x1bc"[..]].concat()), "");
        assert_eq!(written(&[all, &b"\x1b[!p"[..]].concat()), "\x1b[?2004h");
        let mut reset = String::new();
        Modes::write_reset(&mut reset);
        assert_eq!(written(&[all, reset.as_bytes()].concat()), "");
        let within = [b"\x1b[?1049h\x1b]0;half a title", reset.as_bytes()].concat();
        assert_eq!(after(&within).alternate, 0);
    }
}
