//! The ways in which a secret may stand in an answer.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use base64::Engine;
use std::collections::BTreeSet;
use wardian_wire::egress::policy::{Allow, Injection, Placeholder};
use wardian_wire::percent;
use zeroize::Zeroizing;

/// Base64 of fewer bytes than this is not looked for: so few characters stand in any text.
const MIN_BASE64: usize = 8;

/// All forms of the values that a rule injects or substitutes: as they are, percent-encoded, as
/// in JSON, and within base64 at each of the three places where a byte may begin.
pub(super) fn all(allow: &Allow, placeholders: &[Placeholder]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = BTreeSet::new();
    let injected = allow
        .inject
        .iter()
        .flat_map(|injection| injection.secrets());
    let swapped = placeholders
        .iter()
        .filter(|each| allow.substitute.contains(&each.name));
    let values = injected
        .map(|secret| &secret.value)
        .chain(swapped.map(|each| &each.value));
    for value in values {
        add(value, &mut forms);
    }
    for injection in &allow.inject {
        if let Injection::Basic {
            username,
            password,
            secrets,
        } = injection
        {
            // Without secrets in it there is nothing to hide.
            if !secrets.is_empty() {
                forms.extend(in_base64(format!("{username}:{password}").as_bytes(), 0));
            }
        }
    }
    forms.remove(&Vec::new());
    forms.into_iter().map(Zeroizing::new).collect()
}

fn add(value: &str, forms: &mut BTreeSet<Vec<u8>>) {
    forms.insert(value.as_bytes().to_vec());
    let encoded = percent::encoded(value);
    forms.insert(lower_triples(&encoded).into_bytes());
    forms.insert(encoded.replace("%20", "+").into_bytes());
    forms.insert(encoded.into_bytes());
    for (slashes, ascii) in [(false, false), (true, false), (false, true), (true, true)] {
        forms.insert(in_json(value, slashes, ascii).into_bytes());
    }
    if value.len() >= MIN_BASE64 {
        for offset in 0..3 {
            forms.extend(in_base64(value.as_bytes(), offset));
        }
    }
}

/// `%2F` as `%2f`.
fn lower_triples(encoded: &str) -> String {
    let mut left = 0;
    let lowered = encoded.chars().map(|character| {
        left = if character == '%' { 3_u8 } else { left };
        let lower = left > 0;
        left = left.saturating_sub(1);
        if lower {
            character.to_ascii_lowercase()
        } else {
            character
        }
    });
    lowered.collect()
}

/// As it stands between quotes in JSON; `slashes`: `/` is escaped; `ascii`: everything else than
/// ASCII is.
fn in_json(value: &str, slashes: bool, ascii: bool) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' => text.extend(['\\', character]),
            '/' if slashes => text.push_str("\\/"),
            _ if ascii && !character.is_ascii() => {
                let units = character.encode_utf16(&mut [0; 2]).to_vec();
                text.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
            _ => text.push(character),
        }
    }
    text
}

/// The characters that the value alone decides where it begins `offset` bytes into a group of
/// three, in both alphabets. The first and last characters, which its neighbours share, stay.
fn in_base64(value: &[u8], offset: usize) -> [Vec<u8>; 2] {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(value);
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|alphabet| {
        let text = alphabet.encode(&padded);
        text.as_bytes()
            .get(first..last)
            .unwrap_or_default()
            .to_vec()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    #[test]
    fn forms_of_a_value() {
        let mut forms = BTreeSet::new();
        add("a/ \"é", &mut forms);
        let texts: Vec<&str> = forms
            .iter()
            .map(|form| std::str::from_utf8(form).unwrap())
            .collect();
        let expected = [
            "a%2F%20%22%C3%A9",
            "a%2F+%22%C3%A9",
            "a%2f%20%22%c3%a9",
            "a/ \"é",
            "a/ \\\"\\u00e9",
            "a/ \\\"é",
            "a\\/ \\\"\\u00e9",
            "a\\/ \\\"é",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn lower_case_only_within_triples() {
        assert_eq!(lower_triples("A%2FB%C3%A9C"), "A%2fB%c3%a9C");
    }

    proptest! {
        #[test]
        fn base64_of_any_text_around_a_value_holds_a_form_of_it(
            before in any::<Vec<u8>>(),
            value in proptest::collection::vec(any::<u8>(), 8..40),
            after in any::<Vec<u8>>(),
        ) {
            let whole = [before.clone(), value.clone(), after].concat();
            let text = STANDARD.encode(&whole);
            let [form, _] = in_base64(&value, before.len() % 3);
            prop_assert!(form.len() >= value.len());
            let found = text.as_bytes().windows(form.len()).any(|window| window == form);
            prop_assert!(found);
        }
    }
}
