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

/// Encodes every byte but the unreserved characters (section 2.3), with upper-case digits.
#[must_use]
pub fn encoded(bytes: impl AsRef<[u8]>) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let bytes = bytes.as_ref();
    let mut encoded = String::with_capacity(bytes.len());
    for byte in bytes {
        if is_unreserved(*byte) {
            encoded.push(char::from(*byte));
        } else {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            encoded.extend(['%', DIGITS[high], DIGITS[low]]);
        }
    }
    encoded
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(bytes in any::<Vec<u8>>()) {
            let text = encoded(&bytes);
            prop_assert!(text.bytes().all(|byte| byte == b'%' || is_unreserved(byte)));
            prop_assert_eq!(decoded(text), bytes);
        }
    }

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encoded("aZ09-._~ /+%é"), "aZ09-._~%20%2F%2B%25%C3%A9");
    }

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
