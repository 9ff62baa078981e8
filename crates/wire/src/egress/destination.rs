//! Where something on its way out is meant to go.

use super::hostname::{parse_address, Hostname};
use std::fmt;
use std::net::IpAddr;

/// A host as it was dialled or named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Name(Hostname),
    /// Never an IPv4 address in IPv6's clothes.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    pub host: Host,
    pub port: u16,
}

/// The text names no destination.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected host:port, with an IPv6 address in brackets")]
pub struct InvalidDestination;

impl Host {
    /// Reads an address or a name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match parse_address(text) {
            Some(address) => Some(Self::Address(address)),
            None => Hostname::parse(text).ok().map(Self::Name),
        }
    }
}

impl Destination {
    #[must_use]
    pub fn name(name: Hostname, port: u16) -> Self {
        let host = Host::Name(name);
        Self { host, port }
    }

    #[must_use]
    pub fn address(address: IpAddr, port: u16) -> Self {
        let host = Host::Address(address.to_canonical());
        Self { host, port }
    }

    /// Reads `host:port`.
    ///
    /// # Errors
    /// [`InvalidDestination`].
    pub fn parse(text: &str) -> Result<Self, InvalidDestination> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidDestination)?;
        let port = crate::host::parse_port(port).ok_or(InvalidDestination)?;
        let host = match host.strip_prefix('[') {
            Some(rest) => {
                let address = rest.strip_suffix(']').and_then(parse_address);
                Host::Address(address.ok_or(InvalidDestination)?)
            }
            None if host.contains(':') => return Err(InvalidDestination),
            None => Host::parse(host).ok_or(InvalidDestination)?,
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back_as_itself(text in "\\PC{0,40}|[a-z.]{1,9}:[0-9]{1,5}|\\[[0-9a-f:]{2,9}\\]:[1-9]") {
            if let Ok(destination) = Destination::parse(&text) {
                prop_assert_eq!(Destination::parse(&destination.to_string()), Ok(destination));
            }
        }
    }

    #[test]
    fn a_port_must_be_there() {
        for text in [
            "a", "a:", "a:0", "a:65536", "::1:80", "[a]:80", ":80", "a:b:80",
        ] {
            assert_eq!(Destination::parse(text), Err(InvalidDestination), "{text}");
        }
        let there = Destination::parse("[::ffff:10.0.0.1]:80").unwrap();
        assert_eq!(there.to_string(), "10.0.0.1:80");
    }
}
