//! What a `Host` says: the address of one sandbox's port, or one of the names a node answers to.
//!
//! `{port}-{id}.<domain>` names a sandbox all by itself, so that no header can send a request
//! made for one preview to another.

use crate::SandboxId;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest host that is looked at, in bytes (a DNS name has at most 253).
pub const MAX_HOST: usize = 255;

/// The domain a node serves, lower-case and without a trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(String);

/// The text is not a domain name.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a domain: expected labels of a-z, 0-9 and hyphen, joined by dots, and no port")]
pub struct InvalidDomain;

/// Whom a `Host` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `{port}-{id}.<domain>`.
    Port { sandbox: SandboxId, port: u16 },
    /// `{port}-{id}-{token}.<domain>`.
    Exposure {
        sandbox: SandboxId,
        port: u16,
        token: String,
    },
    /// An IP address, `localhost` or the domain itself.
    Node,
    /// `sandbox.<domain>`: only requests that name a sandbox in a header.
    Sandboxes,
    /// `api.<domain>`: only the control plane.
    Api,
    /// None of these.
    Other,
}

/// The text is not a host with an optional port.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a host: expected a name or an address, and at most a port behind it")]
pub struct InvalidHost;

impl Domain {
    /// Checks `text`, lower-cases it and wraps it.
    ///
    /// # Errors
    /// [`InvalidDomain`] unless it is a DNS name of at most 180 bytes (labels stand before it).
    pub fn parse(text: &str) -> Result<Self, InvalidDomain> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let valid = text.len() <= 180 && text.split('.').all(is_label);
        valid.then_some(Self(text)).ok_or(InvalidDomain)
    }

    /// The domain as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the value of a `Host` header or an `:authority`. The port of the listener is ignored.
///
/// # Errors
/// [`InvalidHost`] if it is empty, too long, or holds what no host holds (user info, spaces, …).
pub fn parse_host(text: &str, domain: &Domain) -> Result<Host, InvalidHost> {
    if text.is_empty() || text.len() > MAX_HOST {
        return Err(InvalidHost);
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or(InvalidHost)?;
        let port_fits = after.is_empty() || after.strip_prefix(':').is_some_and(is_listener_port);
        let valid = port_fits && address.parse::<Ipv6Addr>().is_ok();
        return valid.then_some(Host::Node).ok_or(InvalidHost);
    }
    let name = match text.split_once(':') {
        Some((name, port)) if is_listener_port(port) => name,
        Some(_) => return Err(InvalidHost),
        None => text,
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_host_byte) {
        return Err(InvalidHost);
    }
    Ok(classify(&name, domain))
}

fn classify(name: &str, domain: &Domain) -> Host {
    if name == domain.0 || name == "localhost" || name.parse::<Ipv4Addr>().is_ok() {
        return Host::Node;
    }
    let label = name
        .strip_suffix(&domain.0)
        .and_then(|rest| rest.strip_suffix('.'));
    match label {
        Some("api") => Host::Api,
        Some("sandbox") => Host::Sandboxes,
        Some(label) => parse_label(label).unwrap_or(Host::Other),
        None => Host::Other,
    }
}

/// Reads `{port}-{id}` or `{port}-{id}-{token}`; `label` is lower-case.
fn parse_label(label: &str) -> Option<Host> {
    if label.len() > 63 {
        return None;
    }
    let (port, rest) = label.split_once('-')?;
    let (id, token) = match rest.split_once('-') {
        Some((id, token)) => (id, Some(token)),
        None => (rest, None),
    };
    let token_fits = token
        .is_none_or(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_alphanumeric()));
    let sandbox = SandboxId::parse(id).ok().filter(|_| token_fits)?;
    let port = parse_port(port)?;
    Some(match token {
        Some(token) => Host::Exposure {
            sandbox,
            port,
            token: token.to_owned(),
        },
        None => Host::Port { sandbox, port },
    })
}

/// Reads a port of a sandbox: 1 to 65535 in plain digits, no sign, no leading zero.
#[must_use]
pub fn parse_port(text: &str) -> Option<u16> {
    let plain =
        text.len() <= 5 && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn is_listener_port(text: &str) -> bool {
    text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "abcdefghij234567abcd";

    fn domain() -> Domain {
        Domain::parse("Box.Example.com").unwrap()
    }

    fn read(text: &str) -> Result<Host, InvalidHost> {
        parse_host(text, &domain())
    }

    proptest! {
        #[test]
        fn every_port_of_every_id_is_found(id in "[a-z2-7]{20}", port in 1u16.., token in "([a-z0-9]{1,30})?", listener in "(:[0-9]{1,5})?") {
            let separator = if token.is_empty() { "" } else { "-" };
            let text = format!("{port}-{id}{separator}{token}.box.example.com{listener}");
            let sandbox = SandboxId::parse(&id).unwrap();
            let expected = if token.is_empty() {
                Host::Port { sandbox, port }
            } else {
                Host::Exposure { sandbox, port, token }
            };
            prop_assert_eq!(read(&text), Ok(expected.clone()));
            prop_assert_eq!(read(&text.to_ascii_uppercase()), Ok(expected));
        }

        #[test]
        fn never_panics(text in "\\PC{0,300}") {
            let _ = read(&text);
            let _ = parse_port(&text);
            let _ = Domain::parse(&text);
        }

        #[test]
        fn a_port_reads_back_as_itself(text in "[0-9+ -]{0,7}") {
            if let Some(port) = parse_port(&text) {
                prop_assert_eq!(port.to_string(), text);
                prop_assert!(port > 0);
            }
        }
    }

    #[test]
    fn the_names_of_the_node() {
        for text in [
            "127.0.0.1:7300",
            "[::1]:7300",
            "[fe80::1]",
            "localhost",
            "LOCALHOST:80",
            "box.example.com",
            "box.example.com.:443",
        ] {
            assert_eq!(read(text), Ok(Host::Node), "{text}");
        }
        assert_eq!(read("api.box.example.com"), Ok(Host::Api));
        assert_eq!(read("sandbox.Box.example.com:1"), Ok(Host::Sandboxes));
    }

    #[test]
    fn what_is_nearly_a_preview_is_nobody() {
        for label in [
            format!("0-{ID}"),
            format!("65536-{ID}"),
            format!("080-{ID}"),
            format!("80-{ID}-"),
            format!("80-{ID}-a-b"),
            format!("80-{ID}a"),
            format!("-{ID}"),
            format!("x.80-{ID}"),
            ID.to_owned(),
        ] {
            assert_eq!(
                read(&format!("{label}.box.example.com")),
                Ok(Host::Other),
                "{label}"
            );
        }
        assert_eq!(read(&format!("80-{ID}.other.example.com")), Ok(Host::Other));
        assert_eq!(
            read(&format!("80-{ID}.evilbox.example.com")),
            Ok(Host::Other)
        );
    }

    #[test]
    fn what_no_host_holds_is_refused() {
        for text in [
            "",
            ".",
            ":80",
            "a b",
            "user@localhost",
            "localhost:8a",
            "a:1:2",
            "[::1",
            "[::1]x",
            "[x]",
            "a/b",
            "a?b",
            "a,b",
        ] {
            assert_eq!(read(text), Err(InvalidHost), "{text}");
        }
    }
}
