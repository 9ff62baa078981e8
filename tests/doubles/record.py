"""What reached the doubles."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Request:
    """One request as a server double understood it.

    Args:
        version: ``"1.1"`` or ``"2"``.
        head: the head's bytes; of HTTP/2 its fields as lines.
        arrival: the connection it came on.
    """

    version: str
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    head: bytes
    arrival: Arrival
    trailers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def all(self, name: str) -> list[str]:
        """The values of every header line of this name."""
        return [value for found, value in self.headers if found.lower() == name.lower()]


@dataclass(slots=True)
class Arrival:
    """One connection that a server double accepted.

    Args:
        address, port: where it was dialled.
        first: the first bytes on the wire, before TLS is taken off.
        server_name: the SNI.
        raw: all bytes that came, after TLS is taken off.
    """

    address: str
    port: int
    first: bytes = b""
    server_name: str | None = None
    protocol: str | None = None
    raw: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Record:
    """All arrivals and requests since the last :meth:`clear`."""

    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    requests: list[Request] = field(default_factory=list[Request])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def clear(self) -> None:
        """Forgets what was."""
        with self.lock:
            self.arrivals.clear()
            self.requests.clear()

    def arrived(self, arrival: Arrival) -> None:
        """Keeps a connection."""
        with self.lock:
            self.arrivals.append(arrival)

    def requested(self, request: Request) -> None:
        """Keeps a request."""
        with self.lock:
            self.requests.append(request)

    def all_bytes(self) -> bytes:
        """Everything that any server double read, encrypted or not."""
        with self.lock:
            parts = [bytes(each.first) + b"\n" + bytes(each.raw) for each in self.arrivals]
            parts += [each.head + b"\n" + each.body for each in self.requests]
        return b"\n".join(parts)
