//! The hosts of a rule.

use super::hostname::{parse_address, Hostname};
use std::net::IpAddr;

/// One host of a rule, or many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `*`: every name and every public address.
    Any,
    /// Exactly this name.
    Name(Hostname),
    /// `*.name`: whatever is below it at any depth, not the name itself.
    Below(Hostname),
    Address(IpAddr),
}

/// The text is no host of a rule.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a host name, *. and a host name, * or an IP address")]
pub struct InvalidHostPattern;

impl HostPattern {
    /// Reads one host of a rule.
    ///
    /// # Errors
    /// [`InvalidHostPattern`].
    pub fn parse(text: &str) -> Result<Self, InvalidHostPattern> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let name = |text| Hostname::parse(text).map_err(|_| InvalidHostPattern);
        match text.strip_prefix("*.") {
            Some(rest) => Ok(Self::Below(name(rest)?)),
            None => match parse_address(text) {
                Some(address) => Ok(Self::Address(address)),
                None => Ok(Self::Name(name(text)?)),
            },
        }
    }

    /// Whether it is or covers this name.
    #[must_use]
    pub fn covers(&self, name: &Hostname) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
            Self::Below(parent) => {
                let rest = name.as_str().strip_suffix(parent.as_str());
                rest.is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Self::Address(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn covers(pattern: &str, name: &str) -> bool {
        let name = Hostname::parse(name).unwrap();
        HostPattern::parse(pattern).unwrap().covers(&name)
    }

    proptest! {
        #[test]
        fn what_is_below_is_covered_and_what_only_ends_alike_is_not(label in "[a-z0-9]{1,9}", name in "[a-z]{1,9}\\.[a-z]{2,5}") {
            let pattern = format!("*.{name}");
            let dotted = format!("{label}.{name}");
            let glued = format!("{label}{name}");
            let deep = format!("{label}.{label}.{name}");
            prop_assert!(covers(&pattern, &dotted) && covers(&pattern, &deep));
            prop_assert!(!covers(&pattern, &name) && !covers(&pattern, &glued));
            prop_assert!(covers(&name, &name.to_uppercase()) && !covers(&name, &dotted));
            prop_assert!(covers("*", &name));
        }
    }

    #[test]
    fn a_star_stands_alone_or_in_front() {
        for text in [
            "",
            "**",
            "a.*",
            "*a.b",
            "*.",
            "*.*.b",
            "a*.b",
            "*.10.0.0.1",
            "127.1",
            "*:80",
        ] {
            assert_eq!(HostPattern::parse(text), Err(InvalidHostPattern), "{text}");
        }
        let mapped = HostPattern::parse("::ffff:10.0.0.1").unwrap();
        assert_eq!(mapped, HostPattern::parse("10.0.0.1").unwrap());
    }
}
