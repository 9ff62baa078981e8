"""Which addresses are public; ``crates/wire/src/egress`` holds the same list for the edge.

Source: the IANA registries of special-purpose addresses for IPv4 and IPv6, and of multicast. What
is "globally reachable" there but stands for others (anycast relays, NAT64) is not public here.
"""

from __future__ import annotations

import contextlib
import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path

Addresses = list[IPv4Address | IPv6Address]

_RESERVED_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_RESERVED_6 = tuple(
    IPv6Network(text)
    for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_LOCAL_4 = re.compile(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL")


def is_public(network: str, own: Addresses) -> bool:
    """Whether every address of a network is public.

    Args:
        network: or an address alone.
        own: addresses of this machine, which are not.
    """
    wanted = ip_network(network)
    if isinstance(wanted, IPv4Network):
        reserved = any(wanted.overlaps(other) for other in _RESERVED_4)
    else:
        inside = wanted.subnet_of(_GLOBAL_6)
        reserved = not inside or any(wanted.overlaps(other) for other in _RESERVED_6)
    return not reserved and not any(address in wanted for address in own)


def own_addresses() -> Addresses:
    """The addresses of this machine, in the network namespace of this process."""
    found: Addresses = []
    # Where the kernel has no IPv6 there is no such file.
    with contextlib.suppress(OSError):
        text = Path("/proc/net/fib_trie").read_text("ascii")
        found += [IPv4Address(address) for address in dict.fromkeys(_LOCAL_4.findall(text))]
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text("ascii").splitlines():
            found.append(ip_address(int(line[:32], 16).to_bytes(16, "big")))
    return found
