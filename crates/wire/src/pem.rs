//! Certificates in PEM (RFC 7468): which are in a bundle, and which are missing.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{alphabet, Engine};
use std::collections::HashSet;

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// Forgiving where other readers are: a certificate that is taken for missing is only added again.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The certificates of `text` in DER, in their order; what is between them and what can't be
/// decoded is passed over.
pub fn certificates(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    bodies(text).filter_map(|body| {
        let packed: Vec<u8> = body
            .iter()
            .copied()
            .filter(|b| !b.is_ascii_whitespace())
            .collect();
        let decoded = BASE64.decode(packed).ok()?;
        (!decoded.is_empty()).then_some(decoded)
    })
}

/// What to append to `bundle` so that it holds all of `wanted` (DER); empty: it does.
#[must_use]
pub fn missing(bundle: &[u8], wanted: &[Vec<u8>]) -> String {
    let there: HashSet<Vec<u8>> = certificates(bundle).collect();
    let mut text = String::new();
    let mut added = HashSet::new();
    for certificate in wanted {
        if !there.contains(certificate) && added.insert(certificate) {
            text.push_str(&encode(certificate));
        }
    }
    // Appended to a last line without its end, the first mark would not be one.
    if !text.is_empty() && bundle.last().is_some_and(|&b| b != b'\n') {
        text.insert(0, '\n');
    }
    text
}

/// One certificate as PEM.
#[must_use]
pub fn encode(certificate: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut text = format!("{BEGIN}\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push('\n');
    text
}

fn bodies(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let begin = find(rest, BEGIN)? + BEGIN.len();
        let after = rest.get(begin..)?;
        let end = find(after, END)?;
        let body = after.get(..end)?;
        rest = after.get(end + END.len()..)?;
        Some(body)
    })
}

fn find(text: &[u8], mark: &str) -> Option<usize> {
    let mut from = 0;
    // Marks begin with a dash, which a body has none of.
    loop {
        from += text.get(from..)?.iter().position(|&b| b == b'-')?;
        if text.get(from..)?.starts_with(mark.as_bytes()) {
            return Some(from);
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_between_certificates_and_odd_lines_are_passed_over() {
        let text = b"# one\r\n-----BEGIN CERTIFICATE-----\r\nAQID\r\n-----END CERTIFICATE-----\r\n\
            -----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n\
            -----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n\
            -----BEGIN CERTIFICATE-----\nBAU\n-----END CERTIFICATE-----";
        let found: Vec<_> = certificates(text).collect();
        assert_eq!(found, [vec![1, 2, 3], vec![4, 5]]);
        let more = missing(text, &[vec![4, 5], vec![6], vec![6]]);
        assert_eq!(
            more,
            "\n-----BEGIN CERTIFICATE-----\nBg==\n-----END CERTIFICATE-----\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_appended_is_there_afterwards(
            before in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..5),
            wanted in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..5),
            noise in "[ -~\n]{0,80}",
        ) {
            let mut bundle: String = before.iter().map(|each| encode(each)).collect();
            bundle.push_str(&noise);
            let more = missing(bundle.as_bytes(), &wanted);
            let whole = [bundle.as_bytes(), more.as_bytes()].concat();
            let there: Vec<_> = certificates(&whole).collect();
            prop_assert!(before.iter().chain(&wanted).all(|each| there.contains(each)));
            prop_assert_eq!(missing(&whole, &wanted), "");
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = certificates(&bytes).count();
        }
    }
}
