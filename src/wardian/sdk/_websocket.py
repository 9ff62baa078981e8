"""WebSocket from the client's side (RFC 6455), without any I/O: frames out, messages in.

No extension is offered, so none is to be expected: compressing what a terminal shows costs more
time than it saves.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from enum import IntEnum

from ._errors import ProtocolError

MESSAGE_LIMIT = 16 * 1024 * 1024
"""The longest message that is waited for, in bytes."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTROL_LIMIT = 125
_NO_STATUS = 1005


class Opcode(IntEnum):
    """What a frame carries."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, put together if it came in pieces.

    Attributes:
        opcode: TEXT, BINARY, CLOSE, PING or PONG.
        data: Its content; of a close the reason, UTF-8 as that of text.
        code: Of a close: why, 1005 if not said.
    """

    opcode: Opcode
    data: bytes
    code: int = 0


def new_key() -> str:
    """What to send as `Sec-WebSocket-Key`."""
    return base64.b64encode(os.urandom(16)).decode()


def accept_for(key: str) -> str:
    """What a server that speaks WebSocket answers to `key` as `Sec-WebSocket-Accept`."""
    digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def frame(opcode: Opcode, payload: bytes) -> bytes:
    """One message as one frame, masked as a client's must be."""
    size = len(payload)
    head = bytearray([0x80 | opcode])
    if size < 126:
        head.append(0x80 | size)
    elif size < 65536:
        head.append(0x80 | 126)
        head += size.to_bytes(2, "big")
    else:
        head.append(0x80 | 127)
        head += size.to_bytes(8, "big")
    mask = os.urandom(4)
    return bytes(head) + mask + _masked(payload, mask)


def close_frame(code: int = 1000) -> bytes:
    """A close that says why."""
    return frame(Opcode.CLOSE, code.to_bytes(2, "big"))


def _masked(payload: bytes, mask: bytes) -> bytes:
    # As two long numbers: a loop over bytes is a hundred times slower.
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    number = int.from_bytes(payload, "little") ^ int.from_bytes(repeated, "little")
    return number.to_bytes(size, "little")


class MessageDecoder:
    """Takes bytes as they come and gives messages when they are whole.

    Attributes:
        closed: The other side has said its last word.
    """

    def __init__(self, limit: int = MESSAGE_LIMIT) -> None:
        self._limit = limit
        self._pending = bytearray()
        self._parts = bytearray()
        self._opcode: Opcode | None = None
        self.closed = False

    def feed(self, data: bytes | memoryview) -> list[Message]:
        """The messages that `data` completes; what follows a close is no longer read.

        Raises:
            ProtocolError: It is not what a server may send, or too long.
        """
        self._pending += data
        messages: list[Message] = []
        position = 0
        while not self.closed:
            head = self._head(position)
            if head is None:
                break
            final, opcode, start, size = head
            if len(self._pending) < start + size:
                break
            payload = bytes(memoryview(self._pending)[start : start + size])
            position = start + size
            message = self._take(final, opcode, payload)
            if message is not None:
                messages.append(message)
        del self._pending[:position]
        return messages

    def _head(self, position: int) -> tuple[bool, Opcode, int, int] | None:
        """Of the frame at `position`: whether it is the last, what it is, where, and how long."""
        pending = self._pending
        if len(pending) < position + 2:
            return None
        first, second = pending[position], pending[position + 1]
        if first & 0x70 or second & 0x80:
            raise ProtocolError("the server sent a WebSocket frame of a kind nobody asked for")
        try:
            opcode = Opcode(first & 0x0F)
        except ValueError:
            raise ProtocolError(f"there is no WebSocket frame {first & 0x0F}") from None
        final, size, start = bool(first & 0x80), second & 0x7F, position + 2
        if opcode >= Opcode.CLOSE and (not final or size > _CONTROL_LIMIT):
            raise ProtocolError("a WebSocket control frame is too long, or in pieces")
        if size >= 126:
            length = 2 if size == 126 else 8
            if len(pending) < start + length:
                return None
            size = int.from_bytes(pending[start : start + length], "big")
            start += length
        if size + len(self._parts) > self._limit:
            raise ProtocolError(f"a WebSocket message is longer than {self._limit} bytes")
        return final, opcode, start, size

    def _take(self, final: bool, opcode: Opcode, payload: bytes) -> Message | None:
        if opcode is Opcode.CLOSE:
            self.closed = True
            if len(payload) == 1:
                raise ProtocolError("a WebSocket close has half a code")
            code = int.from_bytes(payload[:2], "big") if payload else _NO_STATUS
            return Message(opcode, _text(payload[2:]), code)
        if opcode >= Opcode.CLOSE:
            return Message(opcode, payload)
        if (opcode is Opcode.CONTINUATION) == (self._opcode is None):
            raise ProtocolError("the pieces of a WebSocket message are out of order")
        if self._opcode is None:
            self._opcode = opcode
        self._parts += payload
        if not final:
            return None
        whole, kind = bytes(self._parts), self._opcode
        self._parts.clear()
        self._opcode = None
        return Message(kind, _text(whole) if kind is Opcode.TEXT else whole)


def _text(data: bytes) -> bytes:
    try:
        data.decode()
    except UnicodeDecodeError:
        raise ProtocolError("a WebSocket text is not UTF-8") from None
    return data
