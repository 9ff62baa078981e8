"""Connect RPC's streaming envelopes, without any I/O.

An envelope is one flag byte, a 32-bit big-endian length and that many bytes of JSON. The last one
of a stream carries flag 2 and says whether the call succeeded; a stream without it was cut off.
"""

from __future__ import annotations

import struct

import msgspec

from ._errors import ProtocolError

END_OF_STREAM = 0x02
_COMPRESSED = 0x01
_HEADER = struct.Struct(">BI")
ENVELOPE_LIMIT = 16 * 1024 * 1024


class RpcError(msgspec.Struct):
    """Why a call failed, in Connect's words."""

    code: str = "unknown"
    message: str = ""


class _Trailer(msgspec.Struct):
    error: RpcError | None = None


_trailer = msgspec.json.Decoder(_Trailer)


def envelope(payload: bytes, flags: int = 0) -> bytes:
    """One message, ready to send."""
    return _HEADER.pack(flags, len(payload)) + payload


class EnvelopeDecoder:
    """Cuts a byte stream into messages.

    Attributes:
        ended: The end envelope was seen; nothing may follow it.
        error: What the end envelope reported, or None for success.
    """

    __slots__ = ("_buffer", "_limit", "ended", "error")

    def __init__(self, limit: int = ENVELOPE_LIMIT) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self.ended = False
        self.error: RpcError | None = None

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take received bytes, give the messages that are complete now.

        Raises:
            ProtocolError: A message is compressed, too long, or follows the end.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        position, size = 0, len(buffer)
        while size - position >= 5:
            if self.ended:
                raise ProtocolError("data after the end of a stream")
            flags, length = _HEADER.unpack_from(buffer, position)
            if flags & _COMPRESSED:
                raise ProtocolError("a compressed message, though none was asked for")
            if length > self._limit:
                raise ProtocolError(f"a message of {length} bytes; at most {self._limit} are taken")
            if size - position - 5 < length:
                break
            payload = bytes(memoryview(buffer)[position + 5 : position + 5 + length])
            position += 5 + length
            if flags & END_OF_STREAM:
                self._end(payload)
            else:
                messages.append(payload)
        if position:
            del buffer[:position]
        if self.ended and buffer:
            raise ProtocolError("data after the end of a stream")
        return messages

    def _end(self, payload: bytes) -> None:
        try:
            self.error = _trailer.decode(payload).error if payload else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ProtocolError(f"the end of a stream is no valid JSON: {error}") from None
        self.ended = True
