"""HTTP/1.1 from the client's side, without any I/O: requests out, response heads and bodies in.

The SDK brings its own because a command costs 2 to 3 ms in all: a general client adds half a
millisecond to each call, and reads bulk data in small pieces. See
docs/decisions/0002-sdk-transport.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from ._errors import ProtocolError

HEAD_LIMIT = 64 * 1024
_LINE_LIMIT = 8 * 1024


@dataclass(slots=True)
class Head:
    """A response's status line and headers.

    Attributes:
        status: Three digits.
        headers: By lower-case name; repeated ones joined with a comma.
        reusable: Whether the connection may serve another request after the body.
    """

    status: int
    headers: dict[str, str]
    reusable: bool


def header_block(headers: dict[str, str]) -> bytes:
    """Headers as they go over the wire, each line ended.

    Raises:
        ValueError: A name or value holds what would end its line.
    """
    lines: list[str] = []
    for name, value in headers.items():
        if not value.isascii() or any(c in "\r\n\0" for c in name + value):
            raise ValueError(f"header {name} holds characters that no header can")
        lines.append(f"{name}: {value}\r\n")
    return "".join(lines).encode("ascii")


def parse_head(data: bytes | bytearray) -> tuple[Head, int] | None:
    """Read a response head from the start of what was received.

    Returns:
        The head and the number of bytes it took, or None when it is not complete yet.

    Raises:
        ProtocolError: It is no HTTP/1.x response, or longer than HEAD_LIMIT.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > HEAD_LIMIT:
            raise ProtocolError("the response head is too long")
        return None
    if end > HEAD_LIMIT:
        raise ProtocolError("the response head is too long")
    lines = data[:end].decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    digits = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (digits.isascii() and digits.isdigit()):
        raise ProtocolError("the answer is no HTTP/1.1 response")
    if len(digits) != 3 or rest[3:4] not in ("", " ") or not 100 <= int(digits) <= 999:
        raise ProtocolError("the answer has no valid status")
    headers = _parse_headers(lines[1:])
    tokens = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    reusable = "close" not in tokens and (version == "HTTP/1.1" or "keep-alive" in tokens)
    return Head(int(digits), headers, reusable), end + 4


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise ProtocolError("the response has a malformed header")
        key, value = name.lower(), value.strip()
        if key in headers:
            if key == "content-length" and headers[key] != value:
                raise ProtocolError("the response has two lengths")
            if key != "content-length":
                value = f"{headers[key]}, {value}"
        headers[key] = value
    return headers


class BodyDecoder:
    """Takes a response body out of its framing: by length, in chunks, or until the end.

    Attributes:
        done: The body is complete.
        surplus: Bytes followed it that belong to nothing: the connection can't be used again.
        until_close: Only the connection's end ends the body.
    """

    __slots__ = ("_chunked", "_line", "_remaining", "_state", "done", "surplus", "until_close")

    def __init__(self, head: Head, method: str) -> None:
        self._line = bytearray()
        self._state = "size"
        self._chunked = False
        self._remaining = 0
        self.surplus = False
        self.until_close = False
        self.done = False
        if method == "HEAD" or head.status in (204, 304):
            self.done = True
        elif encoding := head.headers.get("transfer-encoding"):
            if encoding.lower() != "chunked":
                raise ProtocolError(f"unknown transfer encoding {encoding[:40]!r}")
            self._chunked = True
        elif (length := head.headers.get("content-length")) is not None:
            if not (length.isascii() and length.isdigit() and len(length) < 20):
                raise ProtocolError("the response has no valid length")
            self._remaining = int(length)
            self.done = self._remaining == 0
        else:
            self.until_close = True

    def decode(self, data: memoryview) -> list[memoryview]:
        """Take received bytes, give the pieces of the body in them (views, not copies)."""
        if self._chunked:
            return self._decode_chunks(data)
        if self.until_close:
            return [data]
        piece = data[: self._remaining]
        self._remaining -= len(piece)
        self.done = self._remaining == 0
        self.surplus = len(piece) < len(data)
        return [piece] if piece else []

    def end(self) -> None:
        """The connection was closed by the other side.

        Raises:
            ProtocolError: The body was not complete.
        """
        if not self.until_close and not self.done:
            raise ProtocolError("the connection was closed in the middle of an answer")
        self.done = True

    def _decode_chunks(self, data: memoryview) -> list[memoryview]:
        pieces: list[memoryview] = []
        position, size = 0, len(data)
        while position < size and not self.done:
            if self._state == "data":
                piece = data[position : position + self._remaining]
                pieces.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if self._remaining == 0:
                    self._state = "after"
            else:
                position = self._take_line(data, position)
        self.surplus = position < size
        return pieces

    def _take_line(self, data: memoryview, position: int) -> int:
        """Gather one line of the framing; returns the position behind what was taken."""
        window = bytes(data[position : position + _LINE_LIMIT + 2])
        newline = window.find(b"\n")
        self._line += window if newline < 0 else window[: newline + 1]
        if len(self._line) > _LINE_LIMIT:
            raise ProtocolError("a line of the chunked framing is too long")
        if newline < 0:
            return position + len(window)
        if not self._line.endswith(b"\r\n"):
            raise ProtocolError("the chunked framing is malformed")
        line = bytes(self._line[:-2])
        self._line.clear()
        self._framing_line(line)
        return position + newline + 1

    def _framing_line(self, line: bytes) -> None:
        if self._state == "after":
            if line:
                raise ProtocolError("a chunk is longer than it said")
            self._state = "size"
        elif self._state == "size":
            digits = line.split(b";", 1)[0].strip()
            if not 0 < len(digits) <= 15 or digits.strip(b"0123456789abcdefABCDEF"):
                raise ProtocolError("a chunk has no valid size")
            self._remaining = int(digits, 16)
            self._state = "data" if self._remaining else "trailer"
        elif not line:
            self.done = True
