"""Everything that is neither TCP nor a question to the resolver."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from .confined import ALLOWED, ANYWHERE, LEAK, Confined, Talk
from .conftest import Confine

_PACKETS = (Path(__file__).parents[1] / "attacks" / "packets.py").read_text()
_WAYS = (
    "udp 1.1.1.1 443", "udp 8.8.8.8 53", "udp 169.254.169.254 123", "udp 10.0.0.1 54",
    "udp 255.255.255.255 67", "udp 224.0.0.251 5353", "icmp 1.1.1.1", "icmp 10.0.0.1",
    "icmp 169.254.169.254", "sctp 1.1.1.1 443", "dccp 1.1.1.1 443", "udplite 1.1.1.1 53",
    "raw 1.1.1.1 6", "raw 1.1.1.1 4", "raw 1.1.1.1 41", "raw 1.1.1.1 47", "raw 1.1.1.1 50",
    "raw 1.1.1.1 132", "raw 1.1.1.1 255", "options 1.1.1.1 131", "options 1.1.1.1 137",
    "fragments 1.1.1.1", "udp6 2606:4700::1111 53", "tcp6 2606:4700::1111 443",
    "raw6 2606:4700::1111", "frame 1.1.1.1", "fastopen 1.1.1.1 443",
)  # fmt: skip


@pytest.mark.parametrize("user", ["root", "user"])
def test_no_packet_passes(confine: Confine, user: str) -> None:
    inside = confine([{"action": "allow", "host": ALLOWED}])
    told = _send(inside, _WAYS, user)
    assert [way for way, what in told.items() if what == "answered"] == []
    inside.nothing_got_out()
    inside.told(kind="packet", verdict="denied", reason="protocol", host="1.1.1.1", port=443)


def test_where_everything_is_allowed_it_is_still_only_tcp(confine: Confine) -> None:
    inside = confine(ANYWHERE)
    ways = tuple(each for each in _WAYS if not each.startswith(("fastopen", "tcp")))
    assert "answered" not in _send(inside, ways, "root").values()
    inside.nothing_got_out()


def _send(inside: Confined, ways: tuple[str, ...], user: str) -> dict[str, str]:
    result = inside.sandbox.run(
        ["python3", "-c", _PACKETS, json.dumps([*ways]), LEAK], user=user, timeout=60, check=True
    )
    return json.loads(result.stdout)


def test_packets_do_not_flood_the_record(confine: Confine) -> None:
    """A destination is told at most once a second."""
    inside = confine([])
    script = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        # Long enough that the edge listens before it is over.
        "for n in range(200000):\n"
        "    try: s.sendto(b'x', ('1.1.1.1', 443))\n"
        "    except OSError: pass\n"
    )
    inside.sandbox.run(["python3", "-c", script], timeout=60, check=True)
    inside.told(kind="packet", host="1.1.1.1", port=443)
    assert len(inside.events(kind="packet")) < 60


def test_quic_falls_back_at_once(confine: Confine) -> None:
    """The port is said to be closed, so a client need not wait."""
    inside = confine(ANYWHERE)
    heard = inside.say(Talk("1.1.1.1", 443, [struct.pack("!B", 0xC0) + os.urandom(1200)], udp=True))
    assert heard.error == "ConnectionRefusedError"
    inside.nothing_got_out()
