//! Paths in JSON. A path is bytes: where they are no UTF-8, `path` shows it with U+FFFD and
//! `path_b64` beside it holds the bytes.

use base64::{engine::general_purpose::STANDARD, Engine};

/// Bytes as they stand in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathText {
    /// For people, and for programs where `base64` is absent.
    pub text: String,
    /// The bytes, where they are no UTF-8.
    pub base64: Option<String>,
}

impl PathText {
    /// How `bytes` stand in JSON.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                text: text.to_owned(),
                base64: None,
            },
            Err(_) => Self {
                text: String::from_utf8_lossy(bytes).into_owned(),
                base64: Some(STANDARD.encode(bytes)),
            },
        }
    }
}

/// What a request's fields `<field>` and `<field>_b64` mean together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidField {
    #[error("is missing")]
    Missing,
    #[error("is given twice, as text and as base64")]
    Both,
    #[error("is no base64")]
    NotBase64,
}

/// The bytes that one of the two fields gives.
///
/// # Errors
/// [`InvalidField`].
pub fn read(text: Option<&str>, base64: Option<&str>) -> Result<Vec<u8>, InvalidField> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(InvalidField::Both),
        (None, None) => Err(InvalidField::Missing),
        (Some(text), None) => Ok(text.as_bytes().to_vec()),
        (None, Some(base64)) => STANDARD.decode(base64).map_err(|_| InvalidField::NotBase64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_name_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let shown = PathText::new(&bytes);
            let text = shown.base64.is_none().then_some(shown.text.as_str());
            prop_assert_eq!(read(text, shown.base64.as_deref()), Ok(bytes));
        }
    }

    #[test]
    fn exactly_one_of_the_two_is_given() {
        assert_eq!(read(None, None), Err(InvalidField::Missing));
        assert_eq!(read(Some("a"), Some("YQ==")), Err(InvalidField::Both));
        assert_eq!(read(None, Some("?")), Err(InvalidField::NotBase64));
        assert_eq!(read(None, Some("/w==")), Ok(vec![0xff]));
    }
}
