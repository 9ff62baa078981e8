"""A network of its own for the node under attack, with somebody listening at its only way out.

The node's namespace has loopback and one link. At the link's other end, in a second namespace,
a double answers for every address there is and records each packet that arrives. So an attack
that gets through a wall reaches the double, never anything real, and is seen.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_ETH_P_ALL: Final = 0x0003
NODE_ADDRESS: Final = "192.0.2.2"
DOUBLE_ADDRESS: Final = "192.0.2.1"
NODE_ADDRESS_6: Final = "2001:db8::2"
#: Another address of the node, in no registry of special ones.
NODE_PUBLIC_ADDRESS: Final = "93.184.215.1"
_NODE_ADDRESSES: Final = (NODE_ADDRESS, NODE_PUBLIC_ADDRESS, NODE_ADDRESS_6)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Packet:
    """One packet that left the node: who it was for, and which protocol it is."""

    protocol: str
    destination: str
    port: int | None


@dataclass(slots=True)
class Namespace:
    """A network namespace, held by its descriptor."""

    descriptor: int

    @classmethod
    def new(cls) -> Namespace:
        """Makes one with loopback up."""
        with Namespace.own() as own:
            _check(_libc.unshare(_CLONE_NEWNET))
            try:
                made = cls(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
                _run("link set lo up")
            finally:
                _enter(own.descriptor)
        return made

    @classmethod
    def own(cls) -> Namespace:
        """The calling thread's."""
        return cls(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self.descriptor)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread, and what it starts, live in it meanwhile."""
        with Namespace.own() as before:
            _enter(self.descriptor)
            try:
                yield
            finally:
                _enter(before.descriptor)


@dataclass(slots=True)
class World:
    """The node's namespace and the double behind it."""

    node: Namespace
    outside: Namespace
    packets: list[Packet] = field(default_factory=list[Packet])
    _stop: int = -1
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins to record and to answer."""
        with self.outside.entered():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
            tap.bind(("outside0", 0))
        reader, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._record, args=(tap, reader), name="double")
        self._thread.start()

    def close(self) -> None:
        """Stops recording; both namespaces vanish with their last process."""
        os.close(self._stop)
        if self._thread is not None:
            self._thread.join()
        self.outside.close()
        self.node.close()

    def _record(self, tap: socket.socket, stop: int) -> None:
        while True:
            ready, _, _ = select.select([tap, stop], [], [])
            if stop in ready:
                break
            frame, address = tap.recvfrom(65536)
            sent_by_us = address[2] == socket.PACKET_OUTGOING
            packet = None if sent_by_us else read(frame)
            if packet is not None:
                self.packets.append(packet)
        tap.close()
        os.close(stop)


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Makes both namespaces and the link, and records until the end."""
    node, outside = Namespace.new(), Namespace.new()
    with outside.entered():
        path = f"/proc/{os.getpid()}/fd/{node.descriptor}"
        _run("link add outside0 type veth peer name uplink0")
        _run(f"link set uplink0 netns {path}")
        _run(f"addr add {DOUBLE_ADDRESS}/32 dev outside0")
        _run("addr add 2001:db8::1/128 dev outside0 nodad")
        _run("link set outside0 up")
        for address in _NODE_ADDRESSES:
            _run(f"route add {address} dev outside0")
        # Every other address is the double's own, so whatever is dialled is answered by it. In the
        # table main, because in the table local this would swallow the node's addresses as well.
        _run("route add local 0.0.0.0/0 dev lo table main")
        _run("-6 route add local ::/0 dev lo table main")
    with node.entered():
        _run(f"addr add {NODE_ADDRESS}/24 dev uplink0")
        _run(f"addr add {NODE_ADDRESS_6}/64 dev uplink0 nodad")
        _run("link set uplink0 up")
        _run(f"addr add {NODE_PUBLIC_ADDRESS}/32 dev lo")
        _run(f"route add default via {DOUBLE_ADDRESS}")
        _run("-6 route add default via 2001:db8::1")
    made = World(node, outside)
    made.start()
    try:
        yield made
    finally:
        made.close()


def read(frame: bytes) -> Packet | None:
    """What a frame carries; None for how neighbours find each other (ARP, IPv6 discovery)."""
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == 0x0806:
        return None
    if kind == 0x0800 and len(body) >= 20:
        rest = body[(body[0] & 15) * 4 :]
        return _packet(body[9], socket.inet_ntop(socket.AF_INET, body[16:20]), rest)
    if kind == 0x86DD and len(body) >= 40:
        protocol, rest = body[6], body[40:]
        if protocol == 0:  # hop-by-hop options: how multicast listeners report themselves
            protocol, rest = rest[0], rest[(rest[1] + 1) * 8 :]
        if protocol == 58 and rest[:1] and rest[0] in range(130, 144):
            return None
        return _packet(protocol, socket.inet_ntop(socket.AF_INET6, body[24:40]), rest)
    return Packet(f"ethertype {kind:#06x}", "", None)


def _packet(protocol: int, destination: str, rest: bytes) -> Packet:
    names = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}
    port = int.from_bytes(rest[2:4], "big") if protocol in (6, 17) and len(rest) >= 4 else None
    return Packet(names.get(protocol, str(protocol)), destination, port)


def _enter(descriptor: int) -> None:
    _check(_libc.setns(descriptor, _CLONE_NEWNET))


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _run(arguments: str) -> None:
    subprocess.run(["ip", *arguments.split()], check=True, capture_output=True, text=True)
