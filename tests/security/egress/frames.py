"""HTTP/2 (RFC 9113) in the raw: frames and field blocks with whatever is wanted in them."""

from __future__ import annotations

import struct
from typing import Final

from hpack import Decoder

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 3, 4, 6, 7, 9
END_STREAM, END_HEADERS = 0x1, 0x4
Fields = list[tuple[bytes, bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """One frame."""
    length = struct.pack("!I", len(payload))[1:]
    return length + bytes([kind, flags]) + struct.pack("!I", stream) + payload


def block(fields: Fields) -> bytes:
    """Fields, each a literal that is not kept (RFC 7541, section 6.2.2)."""
    return b"".join(b"\0" + _string(name) + _string(value) for name, value in fields)


def begin() -> bytes:
    """What a client says first."""
    return PREFACE + frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, 1, 0, b"")


def request(fields: Fields, *, body: bytes | None = None, stream: int = 1) -> bytes:
    """A request, its fields exactly as given."""
    ending = END_STREAM if body is None else 0
    sent = frame(HEADERS, END_HEADERS | ending, stream, block(fields))
    return sent if body is None else sent + frame(DATA, END_STREAM, stream, body)


def statuses(received: bytes) -> dict[int, int]:
    """Stream → status of every answer among the bytes a server sent."""
    decoder, found, at = Decoder(), dict[int, int](), 0
    while at + 9 <= len(received):
        length = int.from_bytes(received[at : at + 3], "big")
        kind, stream = received[at + 3], int.from_bytes(received[at + 5 : at + 9], "big")
        payload = received[at + 9 : at + 9 + length]
        if kind == HEADERS:
            fields = {str(n): str(v) for n, v in decoder.decode(payload)}
            if ":status" in fields:
                found.setdefault(stream, int(fields[":status"]))
        at += 9 + length
    return found


def _string(data: bytes) -> bytes:
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, length = len(data) - 127, bytearray([127])
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + data
