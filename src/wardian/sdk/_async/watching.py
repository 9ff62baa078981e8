"""Watching a sandbox's files: a stream of changes, and what changed since a cursor."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType

from .._errors import ConnectionFailed, ProtocolError, RequestTimeout, SandboxGone, WardianError
from .._net import async_sleep
from .._refusals import from_service
from .._watching import (
    Change,
    Changes,
    ChangesReply,
    StreamError,
    globs,
    read_event,
    watch_query,
)
from .agent import AsyncAgent, AsyncEvents

# After the node's edge was restarted it is there again within a second or two.
_RECONNECTS = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0)

Globs = str | list[str] | tuple[str, ...] | None


class AsyncWatch:
    """A stream of changes, as an iterator. It ends when it is closed.

    When its connection is cut off it connects anew and goes on where it was; what can't be made
    up for is told as a `resync`.

    Attributes:
        path: The watched directory, as it was given.
        cursor: The last thing that was told, to go on from later.
    """

    def __init__(self, agent: AsyncAgent, path: str, query: list[tuple[str, str]]) -> None:
        self.path = path
        self.cursor = ""
        self._agent = agent
        self._query = query
        self._events: AsyncEvents | None = None
        self._waiting: deque[Change | StreamError] = deque()
        self._closed = False

    async def connect(self, since: str | None) -> None:
        """Begin, and wait until every watch stands. Called once, by who makes it."""
        query = self._query if since is None else [*self._query, ("since", since)]
        events = await self._agent.events("GET", "watch", query=query, about=self.path)
        self._events = events
        try:
            while not await self._receive(events):
                pass
        except BaseException:
            self._drop()
            raise

    async def _receive(self, events: AsyncEvents) -> bool:
        """Take in what has come. Returns whether `ready` was among it."""
        received = await events.receive()
        if not received:
            raise SandboxGone(
                f"the watch of {self.path} was cut off", sandbox_id=self._agent.sandbox_id
            )
        ready = False
        for event in received:
            said = read_event(event, self.path)
            if isinstance(said, str):
                self.cursor, ready = said, True
            elif said is not None:
                self._waiting.append(said)
        return ready

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        """The next change.

        Raises:
            FileNotFound: The watched directory is gone.
            SandboxGone: The sandbox has ended.
        """
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            events = self._events
            try:
                if events is None:
                    await self._reconnect()
                else:
                    await self._receive(events)
            except (SandboxGone, RequestTimeout):
                if self._closed:
                    raise StopAsyncIteration from None
                if events is None:
                    raise
                self._drop()
        said = self._waiting.popleft()
        if isinstance(said, StreamError):
            self.close()
            raise from_service(said.code, said.message, self._agent.sandbox_id, self.path)
        if said.cursor is not None:
            self.cursor = said.cursor
        return said

    async def _reconnect(self) -> None:
        last: WardianError | None = None
        for delay in _RECONNECTS:
            await async_sleep(delay)
            try:
                await self.connect(self.cursor)
                return
            except ConnectionFailed as error:
                last = error
        raise last or ProtocolError("no attempt was made")

    def close(self) -> None:
        """Stop watching. A thread that waits for a change gets none; a waiting task is to be
        cancelled."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            events.close()

    async def __aenter__(self) -> AsyncWatch:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncWatching:
    """The part of a sandbox's files that is about their changes."""

    def __init__(self, agent: AsyncAgent) -> None:
        self._agent = agent

    async def watch(
        self,
        path: str,
        *,
        recursive: bool = True,
        include: Globs = None,
        exclude: Globs = None,
        since: str | None = None,
        user: str | None = None,
    ) -> AsyncWatch:
        """Watch a directory. What happens after this returns is told.

        A glob without a slash stands for names at any depth, one with a slash for paths from the
        watched directory on; `**` spans directories. Symbolic links are not followed.

        Args:
            path: The directory.
            recursive: With all below it, also what is made later.
            include: Only what these name, or what lies below.
            exclude: Not what these name, nor what lies below; wins over `include`. Excluded
                directories cost nothing.
            since: Begin with what changed since this cursor of `watch` or `changes`, called with
                the same arguments; a `resync` first where that is not known any more.
            user: Whose home relative paths start in.

        Raises:
            FileNotFound: There is no such directory.
            FileError: It is not a directory, or a glob is none.
        """
        query = watch_query(path, recursive, globs(include), globs(exclude), None, user)
        watch = AsyncWatch(self._agent, path, query)
        await watch.connect(since)
        return watch

    async def changes(
        self,
        path: str,
        *,
        since: str | None = None,
        recursive: bool = True,
        include: Globs = None,
        exclude: Globs = None,
        user: str | None = None,
    ) -> Changes:
        """What changed since a cursor, each path at most once; for clients that were away.

        The first call, without `since`, begins the record and gives the first cursor. A record is
        kept for 10 minutes after it was last asked for, each combination of arguments its own.

        Args:
            path: The directory.
            since: The cursor of an earlier call, or of a watch.
            recursive: As for `watch`.
            include: As for `watch`.
            exclude: As for `watch`.
            user: As for `watch`.

        Raises:
            FileNotFound: There is no such directory.
            FileError: It is not a directory, or a glob is none.
        """
        query = watch_query(path, recursive, globs(include), globs(exclude), since, user)
        reply = await self._agent.rest(
            "GET", "watch/changes", ChangesReply, query=query, about=path
        )
        return reply.read()
