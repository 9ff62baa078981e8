"""Streams of events, `text/event-stream` (WHATWG HTML, section 9.2); no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from ._errors import ProtocolError

EVENT_LIMIT = 16 * 1024 * 1024
"""The longest event that is waited for, in bytes."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        name: What happened.
        data: What is said of it, JSON.
    """

    name: str
    data: bytes


class EventDecoder:
    """Takes bytes as they come and gives events when they are whole."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes | memoryview) -> list[Event]:
        """The events that `piece` completes; comments are none.

        Raises:
            ProtocolError: An event is too long.
        """
        # Its first half may have come before.
        start = max(0, len(self._pending) - 1)
        self._pending += piece
        if self._pending.find(b"\n\n", start) < 0:
            if len(self._pending) > EVENT_LIMIT:
                raise ProtocolError("an event of the stream is too long")
            return []
        *whole, rest = bytes(self._pending).split(b"\n\n")
        self._pending = bytearray(rest)
        return [event for block in whole if (event := _event(block)) is not None]


def _event(block: bytes) -> Event | None:
    name, data = "message", list[bytes]()
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"data":
            data.append(value)
    return Event(name, b"\n".join(data)) if data else None
