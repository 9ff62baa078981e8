"""Where a rule leads: host patterns, ports and networks, in the one spelling that is kept.

``crates/wire/src/egress`` reads the same; ``tests/vectors/egress_rules.json`` holds what both take
and refuse.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

ANYTHING = "*"
MOST_HOST_LENGTH = 253
MOST_PORT = 65535

_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
# What the C library takes for an address: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_NETWORK = re.compile(r"[0-9a-fA-F.:]+(/(0|[1-9][0-9]{0,2}))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")


def host_pattern(text: str) -> str:
    """A host as rules name it: a name, ``*.name``, ``*`` or an address; lower-case.

    Raises:
        ValueError: it is none of these.
    """
    if text == ANYTHING:
        return text
    if text.startswith("*."):
        return "*." + host_name(text[2:])
    return host(text)


def host(text: str) -> str:
    """A name or an address, without any pattern.

    Raises:
        ValueError: it is neither.
    """
    address = _address(text)
    return host_name(text) if address is None else address


def host_name(text: str) -> str:
    """A host name, lower-case and without the last dot.

    Raises:
        ValueError: it is none.
    """
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII: write the name as it is in DNS, such as xn--…")
    name = text.lower().removesuffix(".")
    if len(name) > MOST_HOST_LENGTH:
        raise ValueError(f"{name[:40] + '…'!r} is longer than {MOST_HOST_LENGTH} characters")
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is no host name, *.name, * or address")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(f"{text!r} ends in a number and is no address")
    return name


def port_range(value: int | str) -> str:
    """A port or ``from-to``.

    Raises:
        ValueError: it is neither.
    """
    text = str(value)
    first, dash, last = text.partition("-")
    parts = (first, last) if dash else (first,)
    if not all(_PORT.fullmatch(part) and int(part) <= MOST_PORT for part in parts):
        raise ValueError(f"{text!r} is no port of 1 to {MOST_PORT}, and no range such as 8000-8099")
    if dash and int(first) > int(last):
        raise ValueError(f"{text!r} ends before it begins")
    return text


def network(text: str) -> str:
    """A network, or one address as the network of it alone.

    Raises:
        ValueError: it is neither, or has bits set behind its prefix.
    """
    try:
        found = ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no network such as 10.0.0.0/8 ({error})") from error
    mapped = isinstance(found, IPv6Network) and found.network_address.ipv4_mapped is not None
    if mapped or not _NETWORK.fullmatch(text):
        raise ValueError(f"{text!r} is no network such as 10.0.0.0/8")
    return str(found)


def endpoint(text: str) -> str:
    """``host:port``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is none.
    """
    name, colon, port = text.rpartition(":")
    if not colon or "-" in port:
        raise ValueError(f"{text!r} is not of the form host:port")
    port_range(port)
    if name.startswith("[") and name.endswith("]"):
        address = _address(name[1:-1])
        if address is None or ":" not in address:
            raise ValueError(f"{text!r} holds no IPv6 address in its brackets")
        return f"[{address}]:{port}"
    if ":" in name:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets")
    return f"{host(name)}:{port}"


def endpoint_host(text: str) -> str:
    """The host of what :func:`endpoint` gave."""
    return text.rpartition(":")[0].removeprefix("[").removesuffix("]")


def covers(pattern: str, other: str) -> bool:
    """Whether everything that ``other`` matches is matched by ``pattern``."""
    if pattern in (ANYTHING, other):
        return True
    if not pattern.startswith("*.") or other == ANYTHING or _address(other) is not None:
        return False
    return other.removeprefix("*.").endswith(pattern[1:])


def _address(text: str) -> str | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{text!r}: an address with a zone can't be dialled")
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)
