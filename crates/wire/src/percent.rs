//! Percent-encoding (RFC 3986, section 2.1).

/// Decodes `%XX`; what is no such triple stays.
#[must_use]
pub fn decoded(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut rest = text.as_ref();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((&byte, after)) = rest.split_first() {
        let hexadecimal = after
            .first_chunk::<2>()
            .filter(|pair| byte == b'%' && pair.iter().all(u8::is_ascii_hexdigit))
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(hexadecimal.unwrap_or(byte));
        rest = after
            .get(if hexadecimal.is_some() { 2 } else { 0 }..)
            .unwrap_or(&[]);
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_triple_stays() {
        for (text, expected) in [
            ("%2Ftmp%2F%ffa", &b"/tmp/\xffa"[..]),
            ("%2", b"%2"),
            ("%", b"%"),
            ("%+1%zz", b"%+1%zz"),
            ("%%41", b"%A"),
            ("%2541", b"%41"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }
}
