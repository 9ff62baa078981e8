//! Quoting for a shell.

/// Adds `bytes` as one word that every shell reads as they are.
pub fn push_quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'\'');
    for &byte in bytes {
        if byte == b'\'' {
            out.extend(b"'\\''");
        } else {
            out.push(byte);
        }
    }
    out.push(b'\'');
}

/// The words as one command line.
#[must_use]
pub fn join<T: AsRef<[u8]>>(words: &[T]) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        push_quoted(&mut line, word.as_ref());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn words_stay_words() {
        assert_eq!(
            join(&["a b", "", "it's", "$x\n"]),
            b"'a b' '' 'it'\\''s' '$x\n'"
        );
    }
}
