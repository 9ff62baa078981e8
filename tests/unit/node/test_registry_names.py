"""Which registries lead into a network of the operator's own."""

from __future__ import annotations

import threading
from ipaddress import ip_address

from wardian.server.node.registry_names import mirrored

ADDRESSES = {
    "public.test": ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    "private.test": ["10.1.2.3"],
    "unique-local.test": ["fd00::1", "192.168.1.1"],
    "documentation.test": ["203.0.113.80"],
    "both.test": ["10.1.2.3", "93.184.215.14"],
    "loopback.test": ["127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
    "here.test": ["10.9.9.9"],
}


def resolve(name: str) -> list[str]:
    if name not in ADDRESSES:
        raise OSError("no such name")
    return ADDRESSES[name]


def test_names_with_private_addresses_alone_are_mirrored() -> None:
    found = mirrored([*ADDRESSES, "nowhere.test"], resolve, [ip_address("10.9.9.9")])
    assert found == ["private.test", "unique-local.test", "documentation.test"]


def test_who_does_not_answer_is_not_waited_for() -> None:
    never = threading.Event()

    def slow(name: str) -> list[str]:
        if name == "slow.test":
            never.wait()
        return ["10.1.2.3"]

    assert mirrored(["slow.test", "quick.test"], slow, [], patience=0.2) == ["quick.test"]
    never.set()


def test_the_machines_own_resolver_is_asked() -> None:
    assert mirrored(["localhost"]) == []
    # An address is a name that every resolver knows.
    assert mirrored(["192.0.2.77"], own=[]) == ["192.0.2.77"]
