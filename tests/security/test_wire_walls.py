"""Where code in a sandbox can reach: nowhere that nobody granted."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from doubles.outside import Outside

from wardian import Sandbox

from . import attack
from .network import DOUBLE_ADDRESS, NODE_ADDRESS, NODE_ADDRESS_6, World

_ADDRESSES = (
    "10.0.0.1",  # the gateway: the other end of the wire
    "10.0.0.0",
    "10.0.0.3",
    "10.0.0.6",  # a neighbour, were there an address plan
    "10.1.2.3",
    NODE_ADDRESS,
    DOUBLE_ADDRESS,
    "169.254.169.254",  # metadata services
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "172.17.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.7",
    "0.0.0.1",
    "224.0.0.1",
    "224.0.0.251",
    "239.255.255.250",
    "255.255.255.255",
)
_ADDRESSES_6 = (
    NODE_ADDRESS_6,
    "2001:db8::1",
    "fd00:ec2::254",
    "fe80::1%eth0",
    "ff02::1%eth0",
    "::ffff:10.0.0.1",
    "::ffff:192.0.2.1",
    "64:ff9b::c000:201",
)
_REACHED = {"held", "answered"}
#: It answers every sandbox, if only that there is no such name.
# The mapped form is the same address, and the same packets on the wire.
_RESOLVER = {"tcp 10.0.0.1 53", "udp 10.0.0.1 53", "udp ::ffff:10.0.0.1 53"}


@pytest.fixture(scope="module")
def bait(world: World) -> Iterator[list[socket.socket]]:
    """Services of the host on every address of it: whoever reaches one is in its backlog."""
    with world.node.entered():
        tcp = socket.create_server(("0.0.0.0", 6379))
        tcp6 = socket.create_server(("::", 6380), family=socket.AF_INET6)
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("0.0.0.0", 6379))
    listeners = [tcp, tcp6, udp]
    for listener in listeners:
        listener.setblocking(False)
    yield listeners
    for listener in listeners:
        listener.close()


def _targets(port: int) -> list[str]:
    ports = (22, 53, 80, 443, 6379, 6380, port, 49983)
    targets = [f"tcp {a} {p}" for a in (*_ADDRESSES, *_ADDRESSES_6) for p in ports]
    targets += [f"udp {a} {p}" for a in (*_ADDRESSES, *_ADDRESSES_6) for p in (53, 123, 6379)]
    targets += [f"ping {a}" for a in (*_ADDRESSES, *_ADDRESSES_6)]
    return targets + [f"raw {a}" for a in _ADDRESSES]


@pytest.mark.parametrize("user", ["root", "user"])
def test_nothing_is_reached(
    base: Sandbox, world: World, node: Any, bait: list[socket.socket], user: str
) -> None:
    # What other sandboxes were let out to before.
    world.packets.clear()
    outcomes: dict[str, str] = attack.run(
        base, "reach.py", json.dumps(_targets(node.port)), user=user
    )
    reached = {target for target, outcome in outcomes.items() if outcome in _REACHED}
    # 0.0.0.1 and the like aside, a sandbox reaches itself under its own addresses only.
    assert reached - _RESOLVER == set()
    for listener in bait:
        with pytest.raises(BlockingIOError):
            listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()
    assert world.packets == []


def test_refusals_come_at_once(base: Sandbox, node: Any) -> None:
    """A TCP connection that nobody takes is refused, not left to time out."""
    targets = [f"tcp {a} {p}" for a in ("10.0.0.1", "203.0.113.7") for p in (54, 80, node.port)]
    outcomes: dict[str, str] = attack.run(base, "reach.py", json.dumps(targets))
    assert outcomes.keys() == set(targets)
    assert set(outcomes.values()) <= {"ECONNREFUSED", "ECONNRESET", "closed"}


def test_the_double_would_have_seen_it(world: World) -> None:
    """Without this, a double that sees nothing proves nothing."""
    seen = len(world.packets)
    with world.node.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"here", ("169.254.169.254", 80))
    subprocess.run(["sync"], check=True)
    from integration.waiting import until

    until(lambda: len(world.packets) > seen, "the double sees a packet of the node")
    packet = world.packets.pop()
    assert (packet.protocol, packet.destination) == ("udp", "169.254.169.254")
    del world.packets[seen:]


def test_another_sandbox_is_not_seen(base: Sandbox, other: Sandbox) -> None:
    """Both are 10.0.0.2, so what one listens on is nobody else's."""
    server = other.spawn(["python3", "-m", "http.server", "8099"], user="user")
    try:
        other.run(
            "until curl -so /dev/null http://127.0.0.1:8099/; do sleep 0.1; done",
            timeout=30, check=True,
        )  # fmt: skip
        targets = [f"tcp {a} 8099" for a in ("10.0.0.1", "10.0.0.2", "10.0.0.6", "127.0.0.1")]
        outcomes: dict[str, str] = attack.run(base, "reach.py", json.dumps(targets))
        assert _REACHED.isdisjoint(outcomes.values())
    finally:
        server.kill()


def test_names_do_not_resolve(base: Sandbox, outside: Outside) -> None:
    script = (
        "import socket\n"
        "for name in ('example.com', 'metadata.google.internal', 'host.docker.internal'):\n"
        "    try: print(socket.getaddrinfo(name, 80))\n"
        "    except OSError: pass\n"
    )
    outside.names.asked.clear()
    assert base.run(["python3", "-c", script], timeout=100, check=True).stdout == ""
    assert outside.names.asked == []
