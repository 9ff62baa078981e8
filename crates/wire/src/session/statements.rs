//! Statements as bash writes them in `declare -p` and `trap -p`: one a line, where quoted text may
//! hold line ends.

/// Cuts `text` into statements, without their line ends. Unfinished quoting reaches to the end.
pub fn split(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while rest.first() == Some(&b'\n') {
            rest = rest.get(1..)?;
        }
        if rest.is_empty() {
            return None;
        }
        let (statement, after) = rest.split_at(length(rest));
        rest = after;
        Some(statement)
    })
}

/// Where the statement that `text` begins with ends.
fn length(text: &[u8]) -> usize {
    #[derive(PartialEq)]
    enum Within {
        Nothing,
        /// `'…'`: nothing is special but its end.
        Single,
        /// `"…"` or `$'…'`: a backslash takes the next byte's meaning.
        Escaped(u8),
    }
    let mut within = Within::Nothing;
    let mut escaped = false;
    let mut before = 0;
    for (at, &byte) in text.iter().enumerate() {
        if escaped {
            escaped = false;
        } else if byte == b'\\' && within != Within::Single {
            escaped = true;
        } else {
            within = match (within, byte) {
                (Within::Nothing, b'\n') => return at,
                (Within::Nothing, b'\'') if before == b'$' => Within::Escaped(b'\''),
                (Within::Nothing, b'\'') => Within::Single,
                (Within::Nothing, b'"') => Within::Escaped(b'"'),
                (Within::Single, b'\'') => Within::Nothing,
                (Within::Escaped(end), byte) if byte == end => Within::Nothing,
                (within, _) => within,
            };
        }
        before = byte;
    }
    text.len()
}

/// The name of the variable in a statement `declare -flags name=value`.
#[must_use]
pub fn variable(statement: &[u8]) -> Option<&[u8]> {
    let rest = statement.strip_prefix(b"declare -")?;
    let start = rest.iter().position(|&b| b == b' ')? + 1;
    let rest = rest.get(start..)?;
    let end = rest.iter().position(|&b| b == b'=').unwrap_or(rest.len());
    rest.get(..end).filter(|name| super::is_name(name))
}

/// The signal in a statement `trap -- 'action' SIGNAL`.
#[must_use]
pub fn trapped(statement: &[u8]) -> Option<&[u8]> {
    let rest = statement.strip_prefix(b"trap -- ")?;
    let space = rest.iter().rposition(|&b| b == b' ')?;
    rest.get(space + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quoted_line_ends_end_nothing() {
        let text =
            b"declare -- a=\"1\\\"\n2\"\ndeclare -A m=([$'x\\'\\n']=\"'\" [\"a b\"]=\"\n\" )\n\
                     trap -- 'echo '\\''\n'\\''' EXIT\ndeclare -x B\n";
        let found: Vec<&[u8]> = split(text).collect();
        assert_eq!(found.len(), 4, "{found:?}");
        let names: Vec<_> = found.iter().map(|s| variable(s)).collect();
        let expected: [Option<&[u8]>; 4] = [Some(b"a"), Some(b"m"), None, Some(b"B")];
        assert_eq!(names, expected);
        assert_eq!(trapped(found[2]), Some(b"EXIT".as_slice()));
        assert_eq!(variable(b"declare -f foo-bar"), None);
        assert_eq!(variable(b"declare"), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in prop::collection::vec(
            prop::sample::select(b"a\n\n'\"$\\= []".to_vec()), 0..60)) {
            let joined = split(&text).collect::<Vec<_>>().join(&b'\n');
            let without = |bytes: &[u8]| {
                bytes.iter().copied().filter(|&b| b != b'\n').collect::<Vec<_>>()
            };
            prop_assert_eq!(without(&joined), without(&text));
        }
    }
}
