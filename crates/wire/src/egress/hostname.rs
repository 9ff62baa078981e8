//! Names of hosts, read strictly: what one reader takes for a name and another for an address, or
//! for a shorter name, is neither here.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The longest name in bytes (RFC 1035, without the last dot).
pub const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host name: lower case, no last dot, labels of `[a-z0-9_-]`. International names are only taken
/// in their `xn--` form.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hostname(Arc<str>);

/// The text is not a host name.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a host name: expected at most {MAX_NAME} characters, labels of a-z, 0-9, _ and - joined by dots, and the last one no number")]
pub struct InvalidHostname;

impl Hostname {
    /// Checks `text`, lower-cases it and takes off a last dot.
    ///
    /// A last label that is a number, decimal or hexadecimal, makes it an odd spelling of an
    /// address for `inet_aton` (`127.1`, `0x7f000001`), so it is refused.
    ///
    /// # Errors
    /// [`InvalidHostname`].
    pub fn parse(text: &str) -> Result<Self, InvalidHostname> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > MAX_NAME || !text.split('.').all(is_label) {
            return Err(InvalidHostname);
        }
        let name = text.to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return Err(InvalidHostname);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads an address written plainly; one that is mapped into IPv6 is the one it holds.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Whether `inet_aton` would take this label for a number.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_reads_back_as_itself(text in "\\PC{0,80}|[a-zA-Z0-9_.-]{0,260}") {
            if let Ok(name) = Hostname::parse(&text) {
                prop_assert_eq!(Hostname::parse(name.as_str()).unwrap(), name.clone());
                prop_assert!(parse_address(name.as_str()).is_none());
                let plain = |b: u8| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')
                };
                prop_assert!(name.as_str().bytes().all(plain));
            }
        }
    }

    #[test]
    fn case_and_the_last_dot_make_no_difference() {
        assert_eq!(
            Hostname::parse("API.Example.com."),
            Hostname::parse("api.example.com")
        );
        for text in ["localhost", "_dmarc.a-b.example", "xn--bcher-kva.example"] {
            assert_eq!(Hostname::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_no_name() {
        let long_label = "a".repeat(64);
        let long_name = format!("{}com", "abcdefg.".repeat(32));
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a.b..",
            "evil.test\0.example.com",
            "a b",
            "a/b",
            "a:80",
            "user@a",
            "bücher.example",
            "a%2eb",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.0x0",
            "0177.0.0.01",
            "1.2.3.4.",
            "a.0x",
            "example.123",
            "::1",
            "[::1]",
            "*.example.com",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Hostname::parse(text), Err(InvalidHostname), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_written_plainly() {
        assert_eq!(parse_address("::ffff:10.0.0.1"), "10.0.0.1".parse().ok());
        for text in [
            "127.1",
            "010.0.0.1",
            "0x7f.0.0.1",
            "1.2.3",
            "[::1]",
            "fe80::1%1",
        ] {
            assert_eq!(parse_address(text), None, "{text}");
        }
    }
}
