//! Ranges of addresses, and ranges of ports.

use std::net::IpAddr;

/// The addresses that share the first bits of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    bits: u8,
}

/// Ports from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

/// The text is no range of addresses.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "expected an address, a slash and the length of its network part, and nothing set behind that"
)]
pub struct InvalidCidr;

/// The text is no port and no range of them.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected a port from 1 to 65535 or two joined by a hyphen")]
pub struct InvalidPorts;

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8` or an address alone.
    ///
    /// # Errors
    /// [`InvalidCidr`], also where bits behind the network part are set: that is mostly a slip.
    pub fn parse(text: &str) -> Result<Self, InvalidCidr> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| InvalidCidr)?;
        if network != network.to_canonical() {
            return Err(InvalidCidr);
        }
        let width = if network.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(digits) if is_plain_number(digits) => digits.parse().map_err(|_| InvalidCidr)?,
            Some(_) => return Err(InvalidCidr),
        };
        if bits > width {
            return Err(InvalidCidr);
        }
        let cidr = Self { network, bits };
        cidr.holds_nothing_behind()
            .then_some(cidr)
            .ok_or(InvalidCidr)
    }

    /// Whether `address` is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                (u32::from(network) ^ u32::from(address)) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX
                    .checked_shl(128 - u32::from(self.bits))
                    .unwrap_or(0);
                (u128::from(network) ^ u128::from(address)) & mask == 0
            }
            _ => false,
        }
    }

    fn holds_nothing_behind(&self) -> bool {
        let bits = u32::from(self.bits);
        match self.network {
            IpAddr::V4(network) => u32::from(network).checked_shl(bits).unwrap_or(0) == 0,
            IpAddr::V6(network) => u128::from(network).checked_shl(bits).unwrap_or(0) == 0,
        }
    }
}

impl PortRange {
    /// Reads `443` or `8000-8099`.
    ///
    /// # Errors
    /// [`InvalidPorts`].
    pub fn parse(text: &str) -> Result<Self, InvalidPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text| crate::host::parse_port(text).ok_or(InvalidPorts);
        let (first, last) = (port(first)?, port(last)?);
        (first <= last)
            .then_some(Self { first, last })
            .ok_or(InvalidPorts)
    }

    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

fn is_plain_number(digits: &str) -> bool {
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    (1..=3).contains(&digits.len()) && !leading_zero && digits.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    proptest! {
        #[test]
        fn an_address_is_in_every_range_made_of_its_first_bits(address: u32, other: u32, bits in 0u8..=32) {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let cidr = Cidr::parse(&format!("{}/{bits}", Ipv4Addr::from(address & mask))).unwrap();
            prop_assert!(cidr.contains(Ipv4Addr::from(address).into()));
            prop_assert!(cidr.contains(Ipv4Addr::from(address).to_ipv6_mapped().into()));
            prop_assert_eq!(cidr.contains(Ipv4Addr::from(other).into()), address & mask == other & mask);
        }

        #[test]
        fn the_same_of_version_6(address: u128, other: u128, bits in 0u8..=128) {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            let Ok(cidr) = Cidr::parse(&format!("{}/{bits}", Ipv6Addr::from(address & mask))) else {
                return Ok(());
            };
            prop_assert!(cidr.contains(Ipv6Addr::from(address).into()));
            prop_assert_eq!(cidr.contains(Ipv6Addr::from(other).into()), address & mask == other & mask);
        }

        #[test]
        fn never_panics(text in "\\PC{0,24}|[0-9a-f:./-]{0,24}", port: u16) {
            let _ = Cidr::parse(&text);
            let _ = PortRange::parse(&text).map(|ports| ports.contains(port));
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "10.0.0.0/08",
            "10.0.0.0/",
            "10/8",
            "10.0.0.0/+8",
            "fd00::1/8",
            "::ffff:10.0.0.0/104",
            "a",
        ] {
            assert_eq!(Cidr::parse(text), Err(InvalidCidr), "{text}");
        }
        for text in [
            "",
            "0",
            "65536",
            "80-",
            "-80",
            "90-80",
            "80-90-100",
            "080",
            "http",
        ] {
            assert_eq!(PortRange::parse(text), Err(InvalidPorts), "{text}");
        }
        assert!(PortRange::parse("8000-8099").unwrap().contains(8099));
    }
}
