//! Which addresses are public: those that no registry keeps for something else.
//!
//! Source: the IANA registries of special-purpose addresses for IPv4 and IPv6, and of multicast.
//! What is "globally reachable" there but stands for others (the anycast relays, NAT64) is not
//! public here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Networks of IPv4 that are not public, with the lengths of their prefixes.
const RESERVED_4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, what is reserved for ever, and broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Networks inside 2000::/3 that are not public.
const RESERVED_6: [(Ipv6Addr, u32); 5] = [
    // Protocol assignments: Teredo, benchmarking, ORCHID and others.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4, which carries an IPv4 address and has no relay worth reaching.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is one of the world's, reachable by anybody and nobody's own.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let number = u32::from(address);
            !RESERVED_4
                .iter()
                .any(|(network, bits)| (number ^ u32::from(*network)) >> (32 - bits) == 0)
        }
        IpAddr::V6(address) => {
            // Outside 2000::/3 lie loopback, mapped and compatible addresses, NAT64, unique-local,
            // link-local and multicast ones.
            let number = u128::from(address);
            number >> 125 == 1
                && !RESERVED_6
                    .iter()
                    .any(|(network, bits)| (number ^ u128::from(*network)) >> (128 - bits) == 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_clothes_make_a_private_address_public(address: u32, low: u64) {
            let inner = Ipv4Addr::from(address);
            let [a, b, c, d] = inner.octets().map(u16::from);
            let (high, lower) = (a << 8 | b, c << 8 | d);
            let [w, x, y, z] = [48, 32, 16, 0].map(|shift| (low >> shift) as u16);
            for carrier in [
                Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, lower),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, lower),
                Ipv6Addr::new(0x64, 0xff9b, 1, x, y, z, high, lower),
                Ipv6Addr::new(0x2002, high, lower, 0, w, x, y, z),
                Ipv6Addr::new(0x2001, 0, high, lower, x, y, z, w),
            ] {
                prop_assert!(!is_public(carrier.into()), "{}", carrier);
            }
            prop_assert_eq!(is_public(inner.to_ipv6_mapped().into()), is_public(inner.into()));
        }

        #[test]
        fn what_the_standard_library_calls_odd_is_not_public(address: u32) {
            let address = Ipv4Addr::from(address);
            let odd = address.is_private() || address.is_loopback() || address.is_link_local()
                || address.is_multicast() || address.is_broadcast() || address.is_documentation()
                || address.is_unspecified();
            prop_assert!(!odd || !is_public(address.into()));
        }
    }

    #[test]
    fn edges_of_the_networks() {
        for text in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2003::1",
            "3ffe::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "100::1",
            "2001:db8::1",
            "2001:1ff::1",
            "2002:a00:1::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }
}
