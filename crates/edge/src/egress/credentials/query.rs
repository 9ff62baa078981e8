//! Queries edited in place: what is not meant stays as it was written, byte by byte.

use super::CredentialError;
use http::uri::PathAndQuery;
use http::Uri;
use std::borrow::Cow;
use wardian_wire::percent;

/// The `name=value` pieces as they are written, and the name of each decoded.
pub(super) fn pieces(query: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    query.split('&').map(|piece| {
        let name = piece.split_once('=').map_or(piece, |(name, _)| name);
        (piece, form_decoded(name))
    })
}

/// The decoded value of a piece.
pub(super) fn value(piece: &str) -> Vec<u8> {
    form_decoded(piece.split_once('=').map_or("", |(_, value)| value))
}

/// Decodes as servers read forms: `+` is a space.
pub(super) fn form_decoded(text: &str) -> Vec<u8> {
    let text = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    percent::decoded(text.as_bytes())
}

/// The query with `piece` where the first parameter of this name was, or at the end; every other
/// one of that name is gone, however it was spelled.
pub(super) fn with(query: Option<&str>, name: &[u8], piece: &str) -> String {
    let mut placed = false;
    let mut kept = Vec::new();
    for (written, found) in pieces(query.unwrap_or_default()) {
        if found != name || (written.is_empty() && !name.is_empty()) {
            kept.push(written);
        } else if !std::mem::replace(&mut placed, true) {
            kept.push(piece);
        }
    }
    if !placed {
        if query.is_none_or(str::is_empty) {
            return piece.to_owned();
        }
        kept.push(piece);
    }
    kept.join("&")
}

/// The query without the parameters of these names; `None` if nothing is left of it.
pub(super) fn without(query: &str, names: &[&str]) -> Option<String> {
    let named = |name: &[u8]| names.iter().any(|each| each.as_bytes() == name);
    let kept: Vec<&str> = pieces(query)
        .filter(|(_, name)| !named(name))
        .map(|(written, _)| written)
        .collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// Puts another query into an address.
///
/// # Errors
/// The address would be longer than one may be (64 KiB).
pub(super) fn set(uri: &mut Uri, query: Option<&[u8]>) -> Result<(), CredentialError> {
    let path = uri.path();
    let mut text = path.as_bytes().to_vec();
    if let Some(query) = query {
        text.push(b'?');
        text.extend_from_slice(query);
    }
    let mut parts = uri.clone().into_parts();
    let joined = PathAndQuery::from_maybe_shared(bytes::Bytes::from(text));
    parts.path_and_query = Some(joined.map_err(|_| CredentialError::TooLarge)?);
    *uri = Uri::from_parts(parts).map_err(|_| CredentialError::TooLarge)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_spelling_of_the_name_is_replaced() {
        for (query, expected) in [
            (None, "key=new"),
            (Some(""), "key=new"),
            (Some("a=1"), "a=1&key=new"),
            (Some("key=old"), "key=new"),
            (Some("key"), "key=new"),
            (
                Some("a=%2f&key=1&b=+&k%65y=2&%6B%65%79=3&c"),
                "a=%2f&key=new&b=+&c",
            ),
            (Some("KEY=1&keys=2&&a==b"), "KEY=1&keys=2&&a==b&key=new"),
        ] {
            assert_eq!(with(query, b"key", "key=new"), expected, "{query:?}");
        }
        assert_eq!(with(Some("a+b=1"), b"a b", "a%20b=2"), "a%20b=2");
    }

    #[test]
    fn what_is_left_may_be_nothing() {
        assert_eq!(without("a=1&b=2", &["a", "b"]), None);
        assert_eq!(without("a=1&%62=2&c", &["b"]).as_deref(), Some("a=1&c"));
    }

    #[test]
    fn an_address_keeps_all_but_its_query() {
        let mut uri: Uri = "https://host:8443/a%2fb?x=1".parse().unwrap();
        set(&mut uri, Some(b"y=2")).unwrap();
        assert_eq!(uri, "https://host:8443/a%2fb?y=2");
        set(&mut uri, None).unwrap();
        assert_eq!(uri, "https://host:8443/a%2fb");
        let long = vec![b'a'; 70_000];
        assert_eq!(set(&mut uri, Some(&long)), Err(CredentialError::TooLarge));
    }

    proptest! {
        #[test]
        fn the_others_stay_as_they_are(query in "([a-c%+=]|%6[1-3]|&){0,40}") {
            let edited = with(Some(&query), b"a", "a=new");
            let others = |text: &str| -> Vec<String> {
                pieces(text)
                    .filter(|(piece, name)| name != b"a" && !piece.is_empty())
                    .map(|(piece, _)| piece.to_owned())
                    .collect()
            };
            prop_assert_eq!(others(&edited), others(&query));
            let named: Vec<_> = pieces(&edited).filter(|(_, name)| name == b"a").collect();
            prop_assert_eq!(named, vec![("a=new", b"a".to_vec())]);
        }
    }
}
