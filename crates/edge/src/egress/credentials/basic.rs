//! `Basic` credentials (RFC 7617).

use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::DecodePaddingMode;
use base64::Engine;

/// Reads what clients write, also without padding or with bits left over at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands encoded in a header value, if that is `Basic` credentials.
pub(super) fn decoded(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_at_checked(5)?;
    let token = rest.trim_ascii();
    if !scheme.eq_ignore_ascii_case(b"basic") || token.len() == rest.len() {
        return None;
    }
    LENIENT.decode(token).ok()
}

/// `Basic …` of `username:password`.
pub(super) fn encoded(credentials: &[u8]) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_rfc_writes() {
        let example = b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(decoded(example).unwrap(), b"Aladdin:open sesame");
        assert_eq!(encoded(b"Aladdin:open sesame").as_bytes(), example);
        for text in ["basic QTpi", "BASIC   QTpi ", "Basic\tQTpi"] {
            assert_eq!(decoded(text.as_bytes()).unwrap(), b"A:b", "{text}");
        }
        assert_eq!(decoded(b"Basic QTpiYw").unwrap(), b"A:bc");
        for text in ["", "Basic", "BasicQTpi", "Bearer QTpi", "Basic Q?pi"] {
            assert_eq!(decoded(text.as_bytes()), None, "{text}");
        }
    }
}
