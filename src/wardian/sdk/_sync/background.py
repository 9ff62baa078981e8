# Generated from _async/background.py by tools/generate_sync.py: change it there.
"""Background processes: commands with a name and a log that outlive whoever started them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from signal import Signals
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

from .._background import (
    BackgroundInfo,
    LogDecoder,
    LogMatch,
    LogRecord,
    PortAnswer,
    ProcessLog,
    Stream,
    pattern_query,
    signal_word,
    status_word,
)
from .._companion import Companion
from .._errors import ConnectionFailed, ProtocolError, Unavailable, WaitTimeout, WardianError
from .._net import deliver, sleep
from .agent import Agent
from .transport import Response

T = TypeVar("T")

_log = logging.getLogger("wardian")
# A wait is asked for again after this long: no connection stands still for hours unseen.
_WAIT_SECONDS = 240.0
_WATCH_SECONDS = 10.0
# The agent breaks a silence of 15 seconds.
_SILENCE = 60.0
# How long the server may be away before a reader gives up.
_PATIENCE = 60.0
_RETRY_DELAYS = (0.05, 1.0)


class _Patience:
    """Bears with a server that is away for a moment."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """It is there again."""
        self._until = 0.0
        self._delay = _RETRY_DELAYS[0]

    def bear(self, error: WardianError) -> None:
        """Wait a little; raise `error` when it has been away for too long."""
        now = time.monotonic()
        self._until = self._until or now + _PATIENCE
        if now >= self._until:
            raise error
        sleep(self._delay)
        self._delay = min(2 * self._delay, _RETRY_DELAYS[1])


class BackgroundProcess:
    """A named command in a sandbox that runs on by itself: its log, its end, its signals.

    It needs no connection: `Sandbox.background_process(name)` finds it again from anywhere.

    Attributes:
        name: Its name in the sandbox.
    """

    def __init__(self, agent: Agent, info: BackgroundInfo) -> None:
        self.name = info.name
        self._agent = agent
        self._info = info
        self._log_id = info.log.id
        self._path = f"processes/{quote(info.name, safe='')}"
        self._companion: Companion | None = None

    @property
    def last_info(self) -> BackgroundInfo:
        """How it was when last heard of; `info()` asks."""
        return self._info

    @property
    def pid(self) -> int | None:
        """The command's number in the sandbox, as last heard."""
        return self._info.pid

    @property
    def state(self) -> str:
        """Its state, as last heard; `info()` asks."""
        return self._info.state

    def info(self) -> BackgroundInfo:
        """Ask how it is.

        Raises:
            ProcessNotFound: It was removed.
        """
        self._info = self._agent.rest("GET", self._path, BackgroundInfo)
        return self._info

    def signal(self, signal: int | str | Signals) -> None:
        """Send a signal to the command itself; SIGKILL goes to all that descends from it too.

        Args:
            signal: `signal.SIGHUP`, `1`, `"HUP"` or `"SIGHUP"`.

        Raises:
            ProcessEnded: It does not run.
        """
        message = {"signal": signal_word(signal)}
        self._agent.rest("POST", f"{self._path}/signal", type(None), message=message)

    def stop(self, grace: float = 5) -> BackgroundInfo:
        """End it with all that descends from it, daemons too; it is not started again.

        Args:
            grace: Seconds from SIGTERM to SIGKILL.

        Returns:
            How it ended. Stopping an ended one is no error.
        """
        message = {"grace": grace}
        self._info = self._agent.rest(
            "POST", f"{self._path}/stop", BackgroundInfo, message=message, silence=grace + 60
        )
        return self._info

    def remove(self) -> None:
        """End it, and forget it with its log."""
        self._agent.rest("DELETE", self._path, type(None))

    def log(
        self, since: int | None = None, limit: int | None = None, stream: Stream | None = None
    ) -> ProcessLog:
        """Read its log as far as it goes now.

        Args:
            since: A cursor to begin at; negative: so many bytes before the end; None: the oldest
                that is kept.
            limit: Bytes of output after which to stop; whole records are given.
            stream: Only this output.
        """
        records: list[LogRecord] = []
        for record in self._records(since, stream, limit, follow=False):
            records.append(record)
        following = records[-1].next if records else max(0, since or 0)
        return ProcessLog(tuple(records), following)

    def follow(self, since: int | None = None, stream: Stream | None = None) -> Iterator[LogRecord]:
        """Its log from a cursor on, and what comes, until its last end.

        A connection that breaks is made again and goes on behind the last record: none is lost,
        given twice or out of order. What the log itself has lost is given as a record `gap`.

        Args:
            since: As for `log`.
            stream: Only this output.

        Raises:
            LogReplaced: Another process has taken its name and its log.
            SandboxGone: The sandbox has ended.
        """
        yield from self._records(since, stream, None, follow=True)

    def _records(
        self, since: int | None, stream: Stream | None, limit: int | None, *, follow: bool
    ) -> Iterator[LogRecord]:
        patience = _Patience()
        while limit is None or limit > 0:
            response: Response | None = None
            try:
                response = self._open(since, stream, limit, follow)
                decoder = LogDecoder()
                while piece := self._more(response):
                    patience.renew()
                    for record in decoder.feed(piece):
                        since = record.next
                        if limit is not None and record.kind in ("stdout", "stderr"):
                            limit -= len(record.data)
                        if record.kind != "idle":
                            yield record
                if decoder.empty:
                    return
            except (ConnectionFailed, Unavailable) as error:
                patience.bear(error)
            finally:
                if response is not None:
                    response.close()

    def _more(self, response: Response) -> memoryview:
        try:
            return response.receive()
        except ProtocolError as error:
            # How a stream looks that the server could not send to its end.
            raise ConnectionFailed(f"the log of process {self.name} was cut off") from error

    def _open(
        self, since: int | None, stream: Stream | None, limit: int | None, follow: bool
    ) -> Response:
        query = [("log", self._log_id), ("follow", str(int(follow)))]
        given = {"since": since, "stream": stream, "limit": limit}
        query += [(key, str(value)) for key, value in given.items() if value is not None]
        return self._agent.open("GET", f"{self._path}/log", query=query, silence=_SILENCE)

    def wait_for_port(
        self,
        port: int,
        path: str | None = None,
        status: int | tuple[int, int] | None = None,
        timeout: float | None = None,
    ) -> int | None:
        """Wait until a server listens on one of the sandbox's ports, loopback included.

        Args:
            port: The port.
            path: Ask HTTP for this path; without it a connection is enough.
            status: The status that counts, or the first and last of a range; 200 to 399 if not
                given.
            timeout: Seconds to wait at most.

        Returns:
            The HTTP status, where one was asked for.

        Raises:
            ProcessEnded: The process ended before; the error holds how.
            WaitTimeout: It did not listen in time.
        """
        query = [("for", "port"), ("port", str(port))]
        if path is not None:
            query.append(("path", path))
        if status is not None:
            query.append(("status", status_word(status)))
        return (self._wait(query, PortAnswer, timeout)).status

    def wait_for_log(
        self,
        pattern: str | re.Pattern[str],
        timeout: float | None = None,
        *,
        stream: Stream | None = None,
        since: int | None = None,
    ) -> LogMatch:
        """Wait for a line of the log; lines that came earlier count.

        Args:
            pattern: Text the line holds, or a regular expression that matches in it (matched in
                the sandbox, without look-around and backreferences).
            timeout: Seconds to wait at most.
            stream: Only this output.
            since: Only from this cursor on.

        Raises:
            ProcessEnded: The process ended before; the error holds how.
            WaitTimeout: No such line came in time.
        """
        query = [("for", "log"), pattern_query(pattern)]
        if stream is not None:
            query.append(("stream", stream))
        if since is not None:
            query.append(("since", str(since)))
        return self._wait(query, LogMatch, timeout)

    def wait_for_exit(self, timeout: float | None = None) -> BackgroundInfo:
        """Wait until it has ended and is not started again.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            How it ended.

        Raises:
            WaitTimeout: It did not end in time.
        """
        self._info = self._wait([("for", "exit")], BackgroundInfo, timeout)
        return self._info

    def _wait(self, query: list[tuple[str, str]], kind: type[T], timeout: float | None) -> T:
        if timeout is not None and timeout < 0:
            raise ValueError("a timeout can't be less than 0 seconds")
        end = None if timeout is None else time.monotonic() + timeout
        patience = _Patience()
        while True:
            left = _WAIT_SECONDS if end is None else max(0.0, end - time.monotonic())
            share = min(left, _WAIT_SECONDS)
            asked = [*query, ("timeout", f"{share:.3f}")]
            try:
                return self._agent.rest(
                    "GET", f"{self._path}/wait", kind, query=asked, silence=share + 30
                )
            except WaitTimeout:
                patience.renew()
                if end is not None and left <= _WAIT_SECONDS:
                    raise
            except (ConnectionFailed, Unavailable) as error:
                patience.bear(error)

    def call_on_exit(self, callback: Callable[[BackgroundInfo], object]) -> None:
        """Have `callback` called with how it ended, once it has ended for good.

        What waits for that belongs to this handle: `close()`, or leaving `with`, ends it.
        """

        def watch(companion: Companion) -> None:
            self._watch(companion, callback)

        self._companion = Companion(watch)

    def _watch(self, companion: Companion, callback: Callable[[BackgroundInfo], object]) -> None:
        while not companion.closed:
            try:
                info = self.wait_for_exit(_WATCH_SECONDS)
            except WaitTimeout:
                continue
            except WardianError as error:
                _log.warning("the end of process %s will not be told: %s", self.name, error)
                return
            if not companion.closed:
                deliver(callback, info)
            return

    def close(self) -> None:
        """Stop waiting for its end; the process runs on. Raises what `on_exit` raised."""
        companion, self._companion = self._companion, None
        if companion is not None:
            companion.close()

    def __enter__(self) -> BackgroundProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop waiting for its end; the process runs on."""
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self._info.state}>"
