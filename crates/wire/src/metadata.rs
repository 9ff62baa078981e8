//! What users say about a file: `X-Metadata-<key>` headers, kept as extended attributes
//! `user.e2b.<key>`.

use std::collections::BTreeMap;

/// How the header names start, in lower case.
pub const HEADER_PREFIX: &str = "x-metadata-";
/// How the attribute names start.
pub const ATTRIBUTE_PREFIX: &str = "user.e2b.";
/// The longest key, in bytes: the kernel allows 255 for a whole attribute name.
pub const MAX_KEY: usize = 246;
/// The most all keys and values of a file may have, in bytes.
pub const MAX_TOTAL: usize = 4096;

/// Metadata that can't be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("metadata key must not be empty")]
    EmptyKey,
    #[error("metadata key of {0} bytes is longer than {MAX_KEY}")]
    LongKey(usize),
    #[error("metadata key or value of `{0}` holds characters that are not printable ASCII")]
    NotPrintable(String),
    #[error("metadata of {0} bytes is larger than {MAX_TOTAL}")]
    TooLarge(usize),
}

/// Collects and checks headers given as (name in lower case, value).
///
/// # Errors
/// [`MetadataError`]; nothing may be written then.
pub fn collect<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<BTreeMap<String, String>, MetadataError> {
    let mut metadata = BTreeMap::new();
    let mut total = 0;
    for (name, value) in headers {
        let Some(key) = name.strip_prefix(HEADER_PREFIX) else {
            continue;
        };
        if key.is_empty() {
            return Err(MetadataError::EmptyKey);
        }
        if key.len() > MAX_KEY {
            return Err(MetadataError::LongKey(key.len()));
        }
        let printable = |bytes: &[u8]| bytes.iter().all(|b| (0x20..=0x7e).contains(b));
        let text = std::str::from_utf8(value)
            .ok()
            .filter(|v| printable(v.as_bytes()));
        let Some(text) = text.filter(|_| printable(key.as_bytes())) else {
            return Err(MetadataError::NotPrintable(key.to_owned()));
        };
        total += key.len() + text.len();
        metadata.insert(key.to_owned(), text.to_owned());
    }
    if total > MAX_TOTAL {
        return Err(MetadataError::TooLarge(total));
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_headers_count() {
        let headers: [(&str, &[u8]); 3] = [
            ("host", b"x"),
            ("x-metadata-a", b"1"),
            ("x-metadata-b-c", b"two words"),
        ];
        let metadata = collect(headers.into_iter()).unwrap();
        assert_eq!(metadata.len(), 2);
        assert_eq!(metadata["b-c"], "two words");
    }

    #[test]
    fn limits_hold() {
        let long = format!("x-metadata-{}", "k".repeat(MAX_KEY + 1));
        let one = |name: &str, value: &[u8]| collect([(name, value)].into_iter());
        assert_eq!(one(&long, b""), Err(MetadataError::LongKey(MAX_KEY + 1)));
        assert_eq!(one("x-metadata-", b""), Err(MetadataError::EmptyKey));
        assert!(matches!(
            one("x-metadata-a", "\u{e9}".as_bytes()),
            Err(MetadataError::NotPrintable(_))
        ));
        assert!(matches!(
            one("x-metadata-a", &[b'v'; MAX_TOTAL]),
            Err(MetadataError::TooLarge(_))
        ));
        assert!(one("x-metadata-a", &[b'v'; MAX_TOTAL - 1]).is_ok());
    }
}
