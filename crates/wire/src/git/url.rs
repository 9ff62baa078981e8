//! Addresses of repositories: which git is given, and what in them is secret.

use crate::percent;

/// Transports git may use.
pub const ALLOWED_PROTOCOLS: &str = "file:git:http:https:ssh";
/// The longest address, in bytes.
const LONGEST: usize = 8192;

/// An address git is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    #[error("is empty")]
    Empty,
    #[error("is longer than {LONGEST} bytes")]
    TooLong,
    #[error("begins with '-', which git would take for an option")]
    Option,
    #[error("holds a control character")]
    Control,
    #[error("names a transport that runs a program or is not one of http, https, ssh, git, file")]
    Transport,
}

/// An address, and the credentials that were in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Without password, for http and https without user name and query too.
    pub clean: String,
    /// What git is to connect to: `clean` with the query.
    pub target: String,
    /// User name, decoded.
    pub username: Option<String>,
    /// Password, decoded.
    pub password: Option<String>,
    /// Values of the query.
    pub query_values: Vec<String>,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({})", self.clean)
    }
}

/// Takes an address apart.
///
/// # Errors
/// [`InvalidUrl`].
pub fn parse(url: &str) -> Result<Address, InvalidUrl> {
    check(url)?;
    let plain = |url: &str| Address {
        clean: url.to_owned(),
        target: url.to_owned(),
        username: None,
        password: None,
        query_values: Vec::new(),
    };
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(plain(url));
    };
    let lower = scheme.to_ascii_lowercase();
    if !ALLOWED_PROTOCOLS.split(':').any(|allowed| allowed == lower) {
        return Err(InvalidUrl::Transport);
    }
    if lower == "file" {
        return Ok(plain(url));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let (username, password) = match userinfo.map(|u| u.split_once(':').unwrap_or((u, ""))) {
        Some((username, password)) => (some(username), some(password)),
        None => (None, None),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    // With ssh the user name says to which account, and is no secret.
    let kept = match &username {
        Some(name) if lower == "ssh" => format!("{}@", encode(name)),
        _ => String::new(),
    };
    let clean = format!("{scheme}://{kept}{host}{path}");
    let target = if query.is_empty() {
        clean.clone()
    } else {
        format!("{clean}?{query}")
    };
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    Ok(Address {
        target,
        username,
        password,
        query_values: values.map(|(_, value)| value.to_owned()).collect(),
        clean,
    })
}

fn check(url: &str) -> Result<(), InvalidUrl> {
    if url.is_empty() {
        return Err(InvalidUrl::Empty);
    }
    if url.len() > LONGEST {
        return Err(InvalidUrl::TooLong);
    }
    if url.starts_with('-') {
        return Err(InvalidUrl::Option);
    }
    if url.chars().any(char::is_control) {
        return Err(InvalidUrl::Control);
    }
    // `ext::sh -c …` and the like: git runs a helper of that name.
    let word = url.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    if word.is_some_and(|end| end > 0 && url[end..].starts_with("::")) {
        return Err(InvalidUrl::Transport);
    }
    Ok(())
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| decode(text))
}

/// Percent-decodes; what is no UTF-8 then stays as it was.
fn decode(text: &str) -> String {
    String::from_utf8(percent::decoded(text)).unwrap_or_else(|_| text.to_owned())
}

/// Percent-encodes all but letters, digits and `-._~`.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Whether `name` can stand for a branch, tag or commit without being an option or several words.
#[must_use]
pub fn is_revision(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 1024
        && !name.starts_with('-')
        && !name.chars().any(|c| c.is_control() || c == ' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_taken_out() {
        let address = parse("https://alice:s%40cret@host:8443/a/b.git?token=t&x=1").unwrap();
        assert_eq!(address.clean, "https://host:8443/a/b.git");
        assert_eq!(address.target, "https://host:8443/a/b.git?token=t&x=1");
        assert_eq!(address.username.as_deref(), Some("alice"));
        assert_eq!(address.password.as_deref(), Some("s@cret"));
        assert_eq!(address.query_values, ["t", "1"]);
        assert_eq!(format!("{address:?}"), "Address(https://host:8443/a/b.git)");
        let ssh = parse("ssh://git:pw@host/x").unwrap();
        assert_eq!(ssh.clean, "ssh://git@host/x");
        for same in [
            "/srv/x.git",
            "git@host:x.git",
            "file:///srv/x",
            "../x",
            "C:x",
        ] {
            assert_eq!(parse(same).unwrap().clean, same);
        }
    }

    #[test]
    fn what_git_would_run_or_misread_is_refused() {
        for (url, why) in [
            ("", InvalidUrl::Empty),
            ("--upload-pack=touch /tmp/x", InvalidUrl::Option),
            ("-u", InvalidUrl::Option),
            ("ext::sh -c id", InvalidUrl::Transport),
            ("fd::17", InvalidUrl::Transport),
            ("EXT::x", InvalidUrl::Transport),
            ("ftp://host/x", InvalidUrl::Transport),
            ("https://host/\nx", InvalidUrl::Control),
        ] {
            assert_eq!(parse(url), Err(why), "{url}");
        }
        assert!(is_revision("feature/x") && is_revision("HEAD~2"));
        assert!(!is_revision("-b") && !is_revision("") && !is_revision("a b"));
    }

    proptest! {
        #[test]
        fn no_secret_stays(user in "[a-z%@:]{0,8}", password in "[A-Z0-9]{4,12}", rest in "[a-z/.]{0,10}") {
            if let Ok(address) = parse(&format!("http://{user}:{password}@host/{rest}")) {
                prop_assert!(!address.clean.contains(&password));
                prop_assert!(!address.clean.contains('@'));
            }
        }

        #[test]
        fn any_text_is_refused_or_read(text in ".{0,60}") {
            if let Ok(address) = parse(&text) {
                prop_assert!(!address.clean.starts_with('-'));
            }
        }

        #[test]
        fn names_come_back(text in ".{0,20}") {
            prop_assert_eq!(decode(&encode(&text)), text);
        }
    }
}
