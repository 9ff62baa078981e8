//! Takes credentials out of what git says.

use super::url::encode;

/// What stands in their place.
const MASK: &str = "***";

/// Hides known secrets, and whatever in a URL is for the server alone: user name, password and
/// query.
#[derive(Clone, Default)]
pub struct Redaction {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Redaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redaction of {}", self.secrets.len())
    }
}

impl Redaction {
    /// Hides `secrets` as they are and as they are written in URLs.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Vec::new();
        for secret in secrets.into_iter().filter(|s| !s.is_empty()) {
            all.push(secret.to_owned());
            all.push(encode(secret));
            all.push(encode(secret).to_ascii_lowercase());
        }
        // The longest first: one may be part of another.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        all.dedup();
        Self { secrets: all }
    }

    /// `text` without credentials.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        urls(&text)
    }
}

/// Takes what is secret out of every URL in `text`.
fn urls(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        clean.push_str(before);
        let ssh = before
            .strip_suffix("://")
            .is_some_and(|b| b.ends_with("ssh"));
        let end = after.find(|c: char| c.is_whitespace() || "'\"<>`".contains(c));
        let (url, behind) = after.split_at(end.unwrap_or(after.len()));
        clean.push_str(&bare(url, ssh));
        rest = behind;
    }
    clean.push_str(rest);
    clean
}

/// A URL without its scheme, without what is secret.
fn bare(url: &str, ssh: bool) -> String {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (authority, path) = url.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((userinfo, host)) if ssh => {
            format!("{}@{host}", userinfo.split(':').next().unwrap_or(""))
        }
        Some((_, host)) => host.to_owned(),
        None => authority.to_owned(),
    };
    match path.split_once('?') {
        Some((path, query)) if !query.is_empty() => format!("{authority}{path}?{MASK}"),
        _ => format!("{authority}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn urls_in_messages_lose_their_secrets() {
        let redaction = Redaction::new(["p@ss", ""]);
        for (said, told) in [
            (
                "fatal: Authentication failed for 'http://u:x@h/r/'",
                "fatal: Authentication failed for 'http://h/r/'",
            ),
            ("to https://h/r?token=abc done", "to https://h/r?*** done"),
            ("ssh://git:pw@h/r", "ssh://git@h/r"),
            ("p@ss and p%40ss", "*** and ***"),
            ("http://a@b@c/x http://t@h", "http://c/x http://h"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(redaction.apply(said), told);
        }
        assert_eq!(format!("{redaction:?}"), "Redaction of 2");
    }

    proptest! {
        #[test]
        fn a_secret_is_never_told(secret in "[!-~&&[^*]]{6,16}", before in ".{0,20}", after in ".{0,20}") {
            let redaction = Redaction::new([secret.as_str()]);
            let said = redaction.apply(&format!("{before}{secret}{after} http://u:{}@h/", encode(&secret)));
            prop_assert!(!said.contains(&secret) && !said.contains(&encode(&secret)));
        }

        #[test]
        fn any_text_is_taken(text in ".{0,80}") {
            let _ = Redaction::new(["x"]).apply(&text);
        }
    }
}
