//! Sandbox ids: 20 characters of `a-z2-7`.
//!
//! The alphabet makes an id valid in every API dialect and lets it stand in one DNS label beside
//! a port and a token; it holds no hyphen, dot or slash, so it is also safe as a file name.

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// How many characters an id has.
pub const LENGTH: usize = 20;

/// A sandbox id that has been checked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SandboxId(String);

/// The text is not a sandbox id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a sandbox id: expected {LENGTH} characters of a-z2-7")]
pub struct InvalidSandboxId;

impl SandboxId {
    /// Checks `text` and wraps it.
    ///
    /// # Errors
    /// [`InvalidSandboxId`] unless it is exactly 20 characters of `a-z2-7`.
    pub fn parse(text: &str) -> Result<Self, InvalidSandboxId> {
        let valid = text.len() == LENGTH
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSandboxId)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SandboxId({})", self.0)
    }
}

impl Serialize for SandboxId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SandboxId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn accepts_exactly_its_alphabet(text in "[a-z2-7]{20}") {
            let id = SandboxId::parse(&text).unwrap();
            prop_assert_eq!(id.as_str(), text);
        }

        #[test]
        fn anything_accepted_is_a_safe_file_name(text in "\\PC{0,24}") {
            if let Ok(id) = SandboxId::parse(&text) {
                prop_assert!(id.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
                prop_assert_eq!(id.as_str().len(), LENGTH);
            }
        }
    }

    #[test]
    fn refuses_what_would_be_ambiguous_in_a_host_name() {
        for text in [
            "",
            "a",
            "aaaaaaaaaaaaaaaaaaa-",
            "aaaaaaaaaaaaaaaaaaa0",
            "AAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(SandboxId::parse(text), Err(InvalidSandboxId), "{text}");
        }
    }
}
