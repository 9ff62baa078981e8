"""HTTP as no honest client sends it: bytes out, bytes back."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from dataclasses import dataclass, field

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_STATIC_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


@dataclass(slots=True)
class Answer:
    """What came back: the statuses of all answers in the bytes, and the bytes."""

    raw: bytes
    statuses: list[int] = field(default_factory=list[int])

    @property
    def status(self) -> int | None:
        """The first answer's; None if there was none."""
        return self.statuses[0] if self.statuses else None

    @property
    def body(self) -> bytes:
        """All behind the first head."""
        return self.raw.partition(b"\r\n\r\n")[2]


def exchange(port: int, data: bytes, *, wait: float = 3.0, close: bool = False) -> Answer:
    """Sends bytes to the node and reads until it closes, or says nothing for ``wait`` seconds.

    Args:
        close: end the sending half after the bytes.
    """
    received = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as stream:
        try:
            stream.sendall(data)
            if close:
                stream.shutdown(socket.SHUT_WR)
            while piece := stream.recv(65536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass
    return Answer(bytes(received), _statuses(bytes(received)))


def request(
    port: int,
    path: str = "/",
    *,
    host: str | None = None,
    method: str = "GET",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b"",
) -> Answer:
    """One well-formed request that asks for the connection to end after it."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}"]
    lines += [f"{name}: {value}" for name, value in headers or []]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    lines += ["Connection: close", "", ""]
    return exchange(port, "\r\n".join(lines).encode("utf-8") + body, wait=15)


def _statuses(raw: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", raw)]


def exchange_2(
    port: int, fields: list[tuple[bytes, bytes]], *, body: bytes | None = None
) -> Answer:
    """One HTTP/2 request by prior knowledge, its fields sent exactly as given.

    Returns:
        Status and body; no status if the node refused the stream or the connection.
    """
    block = b"".join(_literal(name, value) for name, value in fields)
    flags = 0x4 | (0x1 if body is None else 0)
    data = _PREFACE + _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, flags, 1, block)
    if body is not None:
        data += _frame(_DATA, 1, 1, body)
    answer = Answer(b"")
    with socket.create_connection(("127.0.0.1", port), timeout=15) as stream:
        stream.sendall(data)
        with contextlib.suppress(TimeoutError, ConnectionError):
            _read_2(stream, answer)
    return answer


def _read_2(stream: socket.socket, answer: Answer) -> None:
    while True:
        header = _exactly(stream, 9)
        length, kind, flags = int.from_bytes(header[:3], "big"), header[3], header[4]
        payload = _exactly(stream, length)
        if kind == _HEADERS:
            answer.statuses.append(_status(payload))
        elif kind == _DATA:
            answer.raw += payload
        if kind in (_RESET, _GOAWAY) or (kind in (_HEADERS, _DATA) and flags & 1):
            return


def _status(block: bytes) -> int:
    """The status at the head of a field block, indexed or literal."""
    if block[0] & 0x80:
        return _STATIC_STATUS.get(block[0] & 0x7F, 0)
    text = block[2 : 2 + (block[1] & 0x7F)]
    if not block[1] & 0x80:
        return int(text)
    # Huffman's code of the digits: 0 to 2 have five bits, 3 to 9 six.
    codes = {f"{n:05b}": n for n in range(3)} | {f"{0x19 + n - 3:06b}": n for n in range(3, 10)}
    bits, digits = "".join(f"{byte:08b}" for byte in text), ""
    while len(digits) < 3:
        size = 5 if bits[:5] in codes else 6
        digits, bits = digits + str(codes[bits[:size]]), bits[size:]
    return int(digits)


def _exactly(stream: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return bytes(data)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack("!I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack("!I", stream)
        + payload
    )


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + _length(name) + name + _length(value) + value


def _length(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes([len(data)])
    rest, encoded = len(data) - 127, bytearray([127])
    while rest >= 128:
        encoded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*encoded, rest])
