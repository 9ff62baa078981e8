"""Registries whose well-known names this machine's resolver leads to a mirror of its operator's.

Where a network of its own answers for the public registries, the addresses are private ones, which
no sandbox reaches by a public name. So what set-up sees of it becomes part of the node's sources.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from wardian.server.egress.public_addresses import Addresses, is_public, own_addresses

#: A resolver that takes longer is as good as none: set-up goes on without it.
_PATIENCE_SECONDS: Final = 3.0

Resolve = Callable[[str], list[str]]


def mirrored(
    names: Iterable[str],
    resolve: Resolve | None = None,
    own: Addresses | None = None,
    patience: float = _PATIENCE_SECONDS,
) -> list[str]:
    """Those of ``names`` that have addresses here, of which none is public or this machine's own.

    Args:
        names: host names, all asked for at once.
        resolve: the addresses of a name, raising ``OSError`` where it has none; the machine's
            resolver if not given.
        own: addresses of this machine; looked up if not given.
        patience: seconds after which a name that is still being resolved is taken for public.
    """
    mine = own_addresses() if own is None else own
    found: dict[str, list[str]] = {}
    wanted = list(names)

    def look(name: str) -> None:
        try:
            found[name] = (resolve or _addresses)(name)
        except (OSError, UnicodeError):
            found[name] = []

    # Daemons, because nobody can call the C library's resolver back.
    threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in wanted]
    for thread in threads:
        thread.start()
    end = time.monotonic() + patience
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return [name for name in wanted if _all_inside(found.get(name, []), mine)]


def _all_inside(addresses: list[str], own: Addresses) -> bool:
    return bool(addresses) and all(_is_inside(each, own) for each in addresses)


def _is_inside(text: str, own: Addresses) -> bool:
    address = ip_address(text)
    # This machine itself and what answers for clouds' metadata are no mirrors.
    elsewhere = not (address.is_loopback or address.is_link_local or address.is_unspecified)
    return elsewhere and address not in own and not is_public(text, [])


def _addresses(name: str) -> list[str]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    # An IPv6 address of a link has its zone behind it.
    return [str(each[4][0]).partition("%")[0] for each in found]
