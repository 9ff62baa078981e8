//! The lines git writes with `--progress`.

/// The longest line that is waited for, in bytes.
const LONGEST: usize = 64 * 1024;

/// How far git is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// In git's words: `Receiving objects`.
    pub stage: String,
    pub percent: u8,
}

/// One line of standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Progress(Progress),
    /// Anything else.
    Text(String),
}

/// Takes standard error as it comes.
#[derive(Debug, Default)]
pub struct Reader(Vec<u8>);

impl Reader {
    /// The lines that `bytes` complete. Progress is overwritten in place, so a carriage return
    /// ends a line too.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte == b'\n' || byte == b'\r' || self.0.len() >= LONGEST {
                lines.extend(self.end());
            }
            if byte != b'\n' && byte != b'\r' {
                self.0.push(byte);
            }
        }
        lines
    }

    /// What was begun and not ended.
    pub fn end(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.0);
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if text.is_empty() {
            return None;
        }
        Some(match progress(&text) {
            Some(progress) => Line::Progress(progress),
            None => Line::Text(text),
        })
    }
}

/// `remote: Counting objects:  45% (9/20), done.`
fn progress(line: &str) -> Option<Progress> {
    let line = line.strip_prefix("remote: ").unwrap_or(line);
    let (stage, rest) = line.split_once(':')?;
    let (percent, rest) = rest.trim_start().split_once('%')?;
    let percent = percent.parse().ok().filter(|&p: &u8| p <= 100)?;
    let named = !stage.is_empty() && stage.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
    (named && rest.starts_with(" (")).then(|| Progress {
        stage: stage.to_owned(),
        percent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn progress_is_told_from_what_is_said() {
        let said = b"Cloning into 'x'...\nremote: Counting objects:  50% (1/2)\rremote: Counting objects: 100% (2/2), done.\nReceiving objects: 7% (1/14), 1.2 MiB | 3 MiB/s\rfatal: 50% (no)\nrest";
        let mut reader = Reader::default();
        let mut lines = reader.feed(said);
        lines.extend(reader.end());
        let text = |t: &str| Line::Text(t.to_owned());
        let at = |stage: &str, percent| {
            Line::Progress(Progress {
                stage: stage.to_owned(),
                percent,
            })
        };
        let expected = [
            text("Cloning into 'x'..."),
            at("Counting objects", 50),
            at("Counting objects", 100),
            at("Receiving objects", 7),
            at("fatal", 50),
            text("rest"),
        ];
        assert_eq!(lines, expected);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let (mut whole, mut pieces) = (Reader::default(), Reader::default());
            let mut expected = whole.feed(&bytes);
            expected.extend(whole.end());
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            let mut lines = pieces.feed(first);
            lines.extend(pieces.feed(second));
            lines.extend(pieces.end());
            prop_assert_eq!(lines, expected);
        }
    }
}
