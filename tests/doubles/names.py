"""A DNS server (RFC 1035) that answers what a test tells it, and keeps what it was asked.

It listens on port 53 of every address of its namespace, so whatever nameserver the machine's
/etc/resolv.conf names is this one.
"""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

A: Final = 1
CNAME: Final = 5
AAAA: Final = 28
_NO_DATA, _NO_SUCH_NAME = 0, 3
_IP_PKTINFO: Final = 8
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50


@dataclass(slots=True)
class _Entry:
    answers: list[list[str]]
    silent: bool = False
    alias: str | None = None
    given: dict[int, list[bytes]] = field(default_factory=dict[int, list[bytes]])

    def next(self, kind: int, identity: bytes) -> list[str]:
        """The next answer for a type of question; the last one stays.

        A resolver may ask again, or all its nameservers at once, under the same identity.
        """
        asked = self.given.setdefault(kind, [])
        if identity not in asked:
            asked.append(identity)
        turn = asked.index(identity)
        return self.answers[min(turn, len(self.answers) - 1)] if self.answers else []


@dataclass(slots=True)
class Names:
    """The names there are. A name nobody told it of does not exist."""

    asked: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    _entries: dict[str, _Entry] = field(default_factory=dict[str, _Entry])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Lets no name exist any more."""
        with self._lock:
            self._entries.clear()

    def set(self, name: str, *answers: str | list[str]) -> None:
        """A name's addresses; of several answers each question gets the next, then the last."""
        lists = [[each] if isinstance(each, str) else each for each in answers]
        with self._lock:
            self._entries[name] = _Entry(lists)

    def alias(self, name: str, target: str) -> None:
        """A name that is another's (CNAME)."""
        with self._lock:
            self._entries[name] = _Entry([], alias=target)

    def silence(self, name: str) -> None:
        """Questions for this name are never answered."""
        with self._lock:
            self._entries[name] = _Entry([], silent=True)

    def answer(self, question: bytes) -> bytes | None:
        """The reply to a message; None: say nothing."""
        name, kind, end = _read_question(question)
        with self._lock:
            self.asked.append((name, kind))
            records, exists, silent = self._records(name, kind, question[:2])
        if silent:
            return None
        code = _NO_DATA if exists else _NO_SUCH_NAME
        flags = 0x8580 | code
        head = question[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
        return head + question[12:end] + b"".join(records)

    def _records(self, name: str, kind: int, identity: bytes) -> tuple[list[bytes], bool, bool]:
        records: list[bytes] = []
        for _ in range(8):
            entry = self._entries.get(name)
            if entry is None:
                return records, bool(records), False
            if entry.silent:
                return [], True, True
            if entry.alias is None:
                break
            records.append(_record(name, CNAME, _wire(entry.alias)))
            name = entry.alias
        else:
            return records, True, False
        if kind in (A, AAAA):
            # The answers of both families come from the same turn of the list.
            found = [ipaddress.ip_address(each) for each in entry.next(kind, identity)]
            version = 4 if kind == A else 6
            records += [
                _record(name, kind, each.packed) for each in found if each.version == version
            ]
        return records, True, False


def _read_question(message: bytes) -> tuple[str, int, int]:
    """Name, type, and where the question ends."""
    labels, at = list[str](), 12
    while message[at]:
        length = message[at]
        labels.append(message[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    (kind,) = struct.unpack_from("!H", message, at + 1)
    return ".".join(labels).lower(), kind, at + 5


def _record(name: str, kind: int, data: bytes) -> bytes:
    return _wire(name) + struct.pack("!HHIH", kind, 1, 0, len(data)) + data


def _wire(name: str) -> bytes:
    labels = [label.encode("latin-1") for label in name.split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


@dataclass(slots=True)
class NameServer:
    """Serves :class:`Names` over UDP and TCP on sockets of one network namespace."""

    names: Names
    _udp: socket.socket
    _tcp: socket.socket
    _stop: tuple[int, Callable[[], None]]

    @classmethod
    def on(cls, names: Names, address: str = "::") -> NameServer:
        """Opens both sockets in the calling thread's namespace."""
        six = ":" in address
        family = socket.AF_INET6 if six else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six:
            udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            udp.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        udp.bind((address, 53))
        tcp = socket.create_server((address, 53), family=family, dualstack_ipv6=six)
        waker, wake = socket.socketpair()

        def stop() -> None:
            wake.close()

        made = cls(names, udp, tcp, (waker.detach(), stop))
        return made

    def serve(self) -> None:
        """Answers until :meth:`close`; a thread's whole work."""
        waker = self._stop[0]
        with socket.socket(fileno=waker), self._udp, self._tcp:
            while True:
                ready, _, _ = select.select([self._udp, self._tcp, waker], [], [])
                if waker in ready:
                    return
                if self._udp in ready:
                    self._answer_datagram()
                if self._tcp in ready:
                    self._answer_stream()

    def close(self) -> None:
        """Ends :meth:`serve`."""
        self._stop[1]()

    def _answer_datagram(self) -> None:
        question, control, _, peer = self._udp.recvmsg(65535, 512)
        reply = self.names.answer(question)
        if reply is None:
            return
        # From the address that was asked: the resolver takes no other's word.
        about = [each for each in control if each[1] in (_IP_PKTINFO, _IPV6_PKTINFO)]
        self._udp.sendmsg([reply], about, 0, peer)

    def _answer_stream(self) -> None:
        stream, _ = self._tcp.accept()
        with stream:
            stream.settimeout(2)
            try:
                head = stream.recv(2, socket.MSG_WAITALL)
                question = stream.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
                reply = self.names.answer(question)
                if reply is not None:
                    stream.sendall(struct.pack("!H", len(reply)) + reply)
            except (OSError, IndexError, struct.error):
                return
