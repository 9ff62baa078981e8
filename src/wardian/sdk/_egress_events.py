"""Streams of what was decided about egress; no I/O."""

from __future__ import annotations

from collections import deque

import msgspec

from ._egress_answers import EgressEvent
from ._errors import ProtocolError
from ._events import Event, EventDecoder


def events_query(verdict: str | None, kind: str | None, host: str | None) -> list[tuple[str, str]]:
    """What an endpoint of events is asked for."""
    given = {"verdict": verdict, "kind": kind, "host": host}
    return [(key, value) for key, value in given.items() if value is not None]


class EventLog:
    """Takes bytes of a stream as they come and gives decisions.

    Args:
        cursor: The id of the event behind which it begins.
    """

    def __init__(self, cursor: int | None) -> None:
        self.cursor = cursor
        self._decoder = EventDecoder()
        self._waiting: deque[EgressEvent] = deque()

    def restart(self) -> None:
        """A new stream begins: half an event of the old one is none."""
        self._decoder = EventDecoder()

    def take(self) -> EgressEvent | None:
        """The next decision that has come."""
        if not self._waiting:
            return None
        event = self._waiting.popleft()
        self.cursor = event.id
        return event

    def feed(self, piece: bytes | memoryview) -> None:
        """Take in what has come.

        Raises:
            ProtocolError: It is not what it should be.
        """
        for event in self._decoder.feed(piece):
            try:
                self._read(event)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ProtocolError(f"an event is not what it should be: {error}") from error

    def _read(self, event: Event) -> None:
        if event.name == "egress":
            self._waiting.append(msgspec.json.decode(event.data, type=EgressEvent))
