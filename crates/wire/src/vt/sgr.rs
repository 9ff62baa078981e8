//! How text is shown: what SGR (`CSI … m`) sets.

use std::fmt::Write;

/// A colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Colour {
    #[default]
    Default,
    Index(u8),
    Direct(u8, u8, u8),
}

/// Attributes that are on or off: the number that sets each.
const ON: [u16; 8] = [1, 2, 3, 5, 7, 8, 9, 53];

/// The rendition in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rendition {
    /// One bit for each of [`ON`].
    on: u8,
    /// 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed.
    underline: u8,
    foreground: Colour,
    background: Colour,
    underline_colour: Colour,
}

fn number(text: &[u8]) -> u16 {
    let text = std::str::from_utf8(text).unwrap_or("");
    text.parse().unwrap_or(0)
}

impl Rendition {
    /// Does what `CSI parameters m` says.
    pub fn apply(&mut self, parameters: &[u8]) {
        let mut rest = parameters.split(|&b| b == b';');
        while let Some(parameter) = rest.next() {
            let mut parts = parameter.split(|&b| b == b':').map(number);
            let code = parts.next().unwrap_or(0);
            let parts: Vec<u16> = parts.collect();
            match code {
                38 | 48 | 58 => {
                    let colour = if parts.is_empty() {
                        colour(&mut rest.by_ref().map(number))
                    } else {
                        // Behind 2 there may be the number of a colour space, mostly empty.
                        let space = parts.first() == Some(&2) && parts.len() > 4;
                        let skipped = parts.iter().enumerate();
                        colour(
                            &mut skipped
                                .filter(|(i, _)| !(space && *i == 1))
                                .map(|(_, n)| *n),
                        )
                    };
                    match (code, colour) {
                        (38, Some(colour)) => self.foreground = colour,
                        (48, Some(colour)) => self.background = colour,
                        (_, Some(colour)) => self.underline_colour = colour,
                        (_, None) => {}
                    }
                }
                4 => self.underline = parts.first().map_or(1, |&style| style.min(5) as u8),
                _ => self.simple(code),
            }
        }
    }

    fn simple(&mut self, code: u16) {
        let colour = |base: u16, bright: bool| {
            Colour::Index((code - base) as u8 + if bright { 8 } else { 0 })
        };
        match code {
            0 => *self = Self::default(),
            21 => self.underline = 2,
            22 => self.off(&[1, 2]),
            23 => self.off(&[3]),
            24 => self.underline = 0,
            25 => self.off(&[5]),
            27 => self.off(&[7]),
            28 => self.off(&[8]),
            29 => self.off(&[9]),
            55 => self.off(&[53]),
            30..=37 => self.foreground = colour(30, false),
            39 => self.foreground = Colour::Default,
            40..=47 => self.background = colour(40, false),
            49 => self.background = Colour::Default,
            59 => self.underline_colour = Colour::Default,
            90..=97 => self.foreground = colour(90, true),
            100..=107 => self.background = colour(100, true),
            // Fast blinking is blinking.
            6 => self.simple(5),
            _ => {
                if let Some(bit) = ON.iter().position(|&on| on == code) {
                    self.on |= 1 << bit;
                }
            }
        }
    }

    fn off(&mut self, codes: &[u16]) {
        for (bit, code) in ON.iter().enumerate() {
            if codes.contains(code) {
                self.on &= !(1 << bit);
            }
        }
    }

    /// Writes what brings a terminal from its default rendition to this one.
    pub fn write(&self, out: &mut String) {
        if *self == Self::default() {
            return;
        }
        out.push_str("\x1b[0");
        for (bit, code) in ON.iter().enumerate() {
            if self.on & (1 << bit) != 0 {
                // Writing to a String can't fail.
                let _ = write!(out, ";{code}");
            }
        }
        match self.underline {
            0 => {}
            1 => out.push_str(";4"),
            style => {
                let _ = write!(out, ";4:{style}");
            }
        }
        for (code, colour) in [(38, self.foreground), (48, self.background)] {
            let _ = match colour {
                Colour::Default => Ok(()),
                Colour::Index(n) => write!(out, ";{code};5;{n}"),
                Colour::Direct(r, g, b) => write!(out, ";{code};2;{r};{g};{b}"),
            };
        }
        // With colons: terminals that don't know 58 skip all of it then.
        let _ = match self.underline_colour {
            Colour::Default => Ok(()),
            Colour::Index(n) => write!(out, ";58:5:{n}"),
            Colour::Direct(r, g, b) => write!(out, ";58:2::{r}:{g}:{b}"),
        };
        out.push('m');
    }
}

/// What stands behind 38, 48 or 58.
fn colour(numbers: &mut dyn Iterator<Item = u16>) -> Option<Colour> {
    let byte = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
    match numbers.next()? {
        5 => Some(Colour::Index(byte(numbers.next()?))),
        2 => Some(Colour::Direct(
            byte(numbers.next()?),
            byte(numbers.next()?),
            byte(numbers.next()?),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(sequences: &[&str]) -> String {
        let mut rendition = Rendition::default();
        for sequence in sequences {
            rendition.apply(sequence.as_bytes());
        }
        let mut out = String::new();
        rendition.write(&mut out);
        out
    }

    #[test]
    fn as_terminals_read_it() {
        assert_eq!(shown(&["1;31"]), "\x1b[0;1;38;5;1m");
        assert_eq!(shown(&["1;31", ""]), "");
        assert_eq!(shown(&["1;2;4", "22"]), "\x1b[0;4m");
        assert_eq!(shown(&["4:3", "58:2::1:2:3"]), "\x1b[0;4:3;58:2::1:2:3m");
        assert_eq!(shown(&["38:2:1:2:3"]), "\x1b[0;38;2;1;2;3m");
        assert_eq!(shown(&["38;2;1;2;300;7"]), "\x1b[0;7;38;2;1;2;255m");
        assert_eq!(shown(&["48;5;200", "97", "49"]), "\x1b[0;38;5;15m");
        assert_eq!(shown(&["38;9;1"]), "\x1b[0;1m");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_it_was(noise in "[0-9;:]{0,40}", more in "[0-9;:]{0,40}") {
            let mut rendition = Rendition::default();
            rendition.apply(noise.as_bytes());
            rendition.apply(more.as_bytes());
            let mut out = String::new();
            rendition.write(&mut out);
            let mut again = Rendition::default();
            if let Some(parameters) = out.strip_prefix("\x1b[").and_then(|o| o.strip_suffix('m')) {
                again.apply(parameters.as_bytes());
            }
            prop_assert_eq!(again, rendition);
        }
    }
}
