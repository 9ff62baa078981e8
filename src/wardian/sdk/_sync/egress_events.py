# Generated from _async/egress_events.py by tools/generate_sync.py: change it there.
"""Being told what is decided about egress."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from .._egress_answers import EgressEvent
from .._egress_events import EventLog
from .._errors import ConnectionFailed, ProtocolError, WardianError
from .._net import sleep
from .api import Client
from .transport import Response

# After the server was restarted it is there again within a second or two.
_RECONNECTS = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0)


class EgressEvents:
    """Decisions as they are made, as an iterator. It ends when it is closed or the sandbox ends.

    When its connection is cut off it connects anew and goes on where it was.

    Attributes:
        cursor: The id of the last event that was told, to go on from later.
    """

    def __init__(
        self,
        client: Client,
        sandbox_id: str,
        query: list[tuple[str, str]],
        since: int | None,
    ) -> None:
        self._client = client
        self._sandbox_id = sandbox_id
        self._query = query
        self._log = EventLog(since)
        self._response: Response | None = None
        self._closed = False

    @property
    def cursor(self) -> int | None:
        """The id of the last event that was told."""
        return self._log.cursor

    def connect(self) -> None:
        """Begin. Called once, by who makes it."""
        since = [("since", str(self.cursor))] if self.cursor is not None else []
        self._log.restart()
        self._response = self._client.open_egress_events(
            self._sandbox_id, "text/event-stream", [*self._query, *since]
        )

    def __iter__(self) -> Iterator[EgressEvent]:
        return self

    def __next__(self) -> EgressEvent:
        """The next decision.

        Raises:
            ConnectionFailed: The server has been away for too long.
        """
        while True:
            event = self._log.take()
            if event is not None:
                return event
            if self._closed:
                self.close()
                raise StopIteration
            response = self._response
            try:
                if response is None:
                    self._reconnect()
                    continue
                piece = response.receive()
            except ConnectionFailed:
                self._drop()
                if response is None:
                    raise
                continue
            if piece:
                self._log.feed(piece)
                continue
            self._drop()
            # A stream that was not cut off ends because the sandbox has, or the server is stopping.
            if (self._client.get_sandbox(self._sandbox_id)).state == "ended":
                self.close()

    def _reconnect(self) -> None:
        last: WardianError | None = None
        for delay in _RECONNECTS:
            sleep(delay)
            try:
                return self.connect()
            except ConnectionFailed as error:
                last = error
        raise last or ProtocolError("no attempt was made")

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()

    def __enter__(self) -> EgressEvents:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
