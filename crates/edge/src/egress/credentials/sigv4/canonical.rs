//! The canonical request of AWS Signature Version 4.
//!
//! Source: "Create a signed AWS API request" in the IAM user guide, and "Authenticating Requests
//! (AWS Signature Version 4)" in the S3 API reference.

use super::super::query::form_decoded;
use http::request::Parts;
use wardian_wire::percent::{decoded, encoded};

/// Services that take paths as they are and encode them once; all others normalise, and encode
/// what is already encoded once more.
const PLAIN_PATHS: [&str; 4] = ["s3", "s3express", "s3-outposts", "s3-object-lambda"];

/// Whether a service handles paths and payloads as S3 does.
pub(super) fn is_s3(service: &str) -> bool {
    PLAIN_PATHS.contains(&service)
}

/// All of it; `headers` are the names signed, sorted.
pub(super) fn request(head: &Parts, s3: bool, headers: &[String], payload: &str) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    let path = path(head.uri.path(), s3);
    let query = query(head.uri.query().unwrap_or_default());
    for line in [head.method.as_str(), &path, &query] {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    for name in headers {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        append_values(&mut text, head, name);
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(headers.join(";").as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload.as_bytes());
    text
}

fn append_values(text: &mut Vec<u8>, head: &Parts, name: &str) {
    let mut values = head.headers.get_all(name).iter().peekable();
    if let (None, "host", Some(authority)) = (values.peek(), name, head.uri.authority()) {
        text.extend_from_slice(authority.as_str().as_bytes());
    }
    for (at, value) in values.enumerate() {
        if at > 0 {
            text.push(b',');
        }
        let words = value.as_bytes().split(|byte| matches!(byte, b' ' | b'\t'));
        for (at, word) in words.filter(|word| !word.is_empty()).enumerate() {
            if at > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}

fn path(path: &str, s3: bool) -> String {
    let mut segments: Vec<&str> = Vec::new();
    if s3 {
        // The server decodes the path and encodes it again; slashes that are encoded stay so.
        let again: Vec<String> = path.split('/').map(|each| encoded(decoded(each))).collect();
        return again.join("/");
    }
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    let again: Vec<String> = segments.iter().map(encoded).collect();
    let end = if path.ends_with('/') && !again.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", again.join("/"))
}

fn query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| piece.split_once('=').unwrap_or((piece, "")))
        .map(|(name, value)| (encoded(form_decoded(name)), encoded(form_decoded(value))))
        .collect();
    pairs.sort_unstable();
    let written: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    written.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        for (given, s3, other) in [
            ("/", "/", "/"),
            ("/a b".trim_end_matches(" b"), "/a", "/a"),
            ("/a%20b", "/a%20b", "/a%2520b"),
            ("/a%2fb", "/a%2Fb", "/a%252fb"),
            ("//a/./b/../c//", "//a/./b/../c//", "/a/c/"),
            ("/../..", "/../..", "/"),
            ("/(~*)", "/%28~%2A%29", "/%28~%2A%29"),
            ("/a/", "/a/", "/a/"),
        ] {
            assert_eq!(path(given, true), s3, "{given}");
            assert_eq!(path(given, false), other, "{given}");
        }
    }

    #[test]
    fn queries() {
        for (given, expected) in [
            ("", ""),
            ("prefix&max-keys=2", "max-keys=2&prefix="),
            ("b=2&a=2&a=1&A=1", "A=1&a=1&a=2&b=2"),
            ("a=%2f%7e+&&x=a=b", "a=%2F~%20&x=a%3Db"),
            // Sorted as encoded: `a` before `a%2D`, which is `a-`.
            ("a%2D=1&a=2", "a=2&a-=1"),
        ] {
            assert_eq!(query(given), expected, "{given}");
        }
    }

    proptest! {
        #[test]
        fn encoding_again_changes_nothing(text in "(/|[a-zA-Z0-9%.~()+ -]){0,40}") {
            let once = path(&text, true);
            prop_assert_eq!(path(&once, true), once);
            let once = query(&text);
            prop_assert_eq!(query(&once), once);
        }
    }
}
