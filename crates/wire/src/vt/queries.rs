//! Questions to the terminal: sequences that it answers as if somebody had typed the answer. In a
//! replay they must not be: the program that asked has long had its answer, and would take a second
//! one for keys.

use super::parser::{Parser, Step};

/// `ENQ`, answered with a name.
const ENQUIRY: u8 = 0x05;
/// Window operations (`CSI … t`) that report something.
const WINDOW_REPORTS: [&[u8]; 9] = [
    b"11", b"13", b"14", b"15", b"16", b"18", b"19", b"20", b"21",
];
/// How OSC, DCS and APC begin: in 7 bits, and as UTF-8.
const STRINGS: [(&[u8], u8); 6] = [
    (b"\x1b]", b']'),
    (b"\xc2\x9d", b']'),
    (b"\x1bP", b'P'),
    (b"\xc2\x90", b'P'),
    (b"\x1b_", b'_'),
    (b"\xc2\x9f", b'_'),
];

/// Appends `output`, which begins where `parser` is, to `out` without the questions in it.
pub fn append_without(mut parser: Parser, output: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    // Where the sequence begins that is open.
    let mut begin = out.len();
    for byte in output {
        if parser.is_boundary() {
            begin = out.len();
        }
        out.push(byte);
        let asks = match parser.advance(byte) {
            Step::Execute(ENQUIRY) => {
                out.pop();
                false
            }
            step => asks(step),
        };
        let whole = parser.is_boundary();
        if whole && (asks || out.get(begin..).is_some_and(string_asks)) {
            out.truncate(begin);
        }
    }
}

fn asks(step: Step<'_>) -> bool {
    match step {
        Step::Nothing | Step::Execute(_) => false,
        // DECID.
        Step::Escape {
            intermediates,
            last,
        } => intermediates.is_empty() && last == b'Z',
        Step::Control {
            parameters,
            intermediates,
            last,
        } => {
            let prefix = parameters.first().copied().unwrap_or(0);
            let mut numbers = parameters.split(|&b| b == b';');
            match (intermediates, last) {
                // Device attributes, terminal parameters.
                (b"", b'c' | b'x') => true,
                // Device status; with > it sets how keys are sent.
                (b"", b'n') => prefix != b'>',
                (b"", b't') => numbers.next().is_some_and(|n| WINDOW_REPORTS.contains(&n)),
                // Version, keyboard protocol.
                (b"", b'q') => prefix == b'>',
                (b"", b'u') => prefix == b'?',
                // Modes, presentation, settings, checksums.
                (b"$", b'p' | b'w' | b'u') | (b"*", b'y') | (b"&", b'u') => true,
                _ => false,
            }
        }
    }
}

/// Whether a whole sequence is a string that asks for something.
fn string_asks(sequence: &[u8]) -> bool {
    let found = STRINGS.iter().find_map(|(begin, kind)| {
        let rest = sequence.strip_prefix(*begin)?;
        Some((*kind, rest))
    });
    match found {
        // Colours, the clipboard, …: a value that is a question mark.
        Some((b']', text)) => {
            let end = text.iter().position(|&b| matches!(b, 0x07 | 0x1b | 0xc2));
            let text = text.get(..end.unwrap_or(text.len())).unwrap_or_default();
            text.split(|&b| b == b';').any(|value| value == b"?")
        }
        // DECRQSS, XTGETTCAP.
        Some((b'P', text)) => text.starts_with(b"$q") || text.starts_with(b"+q"),
        // Of kitty's pictures.
        Some((b'_', text)) => text.starts_with(b"G") && text.windows(3).any(|w| w == b"a=q"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn without(output: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        append_without(Parser::default(), output.iter().copied(), &mut out);
        out
    }

    #[test]
    fn questions_are_left_out() {
        for question in [
            &b"\x1b[c"[..],
            b"\x1b[>c",
            b"\x1b[0c",
            b"\x1b[6n",
            b"\x1b[?6n",
            b"\x1b[?2026$p",
            b"\x1b[>q",
            b"\x1b[?u",
            b"\x1b[18t",
            b"\x1b[14;2t",
            b"\x1bZ",
            b"\x05",
            b"\x1b]11;?\x07",
            b"\x1b]4;1;?\x1b\\",
            b"\x1b]52;c;?\x07",
            b"\x1bP$qm\x1b\\",
            b"\x1bP+q544e\x1b\\",
            "\u{9b}c".as_bytes(),
            "\u{9d}10;?\u{9c}".as_bytes(),
        ] {
            let output = [b"before ", question, b" after"].concat();
            assert_eq!(without(&output), b"before  after", "{question:?}");
        }
    }

    #[test]
    fn all_else_stays() {
        for output in [
            &b"\x1b[31mred\x1b[m\x1b[2J\x1b[2 q\x1b[u\x1b[8;24;80t\x1b[!p"[..],
            b"\x1b]0;what?\x07\x1b]2;a;b\x1b\\\x1b[>4;2m\x1b[>4n",
            b"\x1bPq#0;2;0?\x1b\\",
            b"half of a question: \x1b[6",
            "é€😀?\u{9b}1m".as_bytes(),
        ] {
            assert_eq!(without(output), output);
        }
    }

    proptest! {
        #[test]
        fn what_is_left_asks_nothing(noise in "[\x1b\x05\x07;?$>a-e\\[\\]Pnct0-6\\\\é]{0,80}") {
            let once = without(noise.as_bytes());
            prop_assert_eq!(without(&once), once);
        }
    }
}
