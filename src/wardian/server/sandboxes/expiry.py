"""Calls out when a sandbox's time is up."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable

from wardian.server.sandboxes.records import now_ms

log = logging.getLogger(__name__)

# The wall clock may be set meanwhile, so it is looked at again after at most this long.
_LONGEST_SLEEP = 30.0
_RETRY_MS = 1000
_MOST_AT_ONCE = 16


class Expiry:
    """Deadlines of sandboxes, in milliseconds since the epoch."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        # The truth; entries of the heap that differ from it are stale and skipped.
        self._deadlines: dict[str, int] = {}
        self._changed = asyncio.Event()

    def schedule(self, sandbox: str, deadline: int | None) -> None:
        """Sets, moves or (``None``) drops the deadline of a sandbox."""
        if deadline is None:
            self._deadlines.pop(sandbox, None)
        elif self._deadlines.get(sandbox) != deadline:
            self._deadlines[sandbox] = deadline
            heapq.heappush(self._heap, (deadline, sandbox))
            if self._heap[0] == (deadline, sandbox):
                self._changed.set()

    def take_due(self, now: int) -> list[str]:
        """Removes and returns those whose time is up at ``now``."""
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now:
            deadline, sandbox = heapq.heappop(self._heap)
            if self._deadlines.get(sandbox) == deadline:
                del self._deadlines[sandbox]
                due.append(sandbox)
        return due

    async def run(self, expire: Callable[[str], Awaitable[None]]) -> None:
        """Calls ``expire`` for each sandbox at its time, until cancelled.

        A failure is tried again a second later.
        """
        turns = asyncio.Semaphore(_MOST_AT_ONCE)

        async def attempt(sandbox: str) -> None:
            async with turns:
                try:
                    await expire(sandbox)
                except Exception:
                    log.exception("expiry failed, trying again", extra={"sandbox": sandbox})
                    if sandbox not in self._deadlines:
                        self.schedule(sandbox, now_ms() + _RETRY_MS)

        async with asyncio.TaskGroup() as attempts:
            while True:
                for sandbox in self.take_due(now_ms()):
                    attempts.create_task(attempt(sandbox))
                await self._sleep()

    async def _sleep(self) -> None:
        self._changed.clear()
        delay = _LONGEST_SLEEP
        if self._heap:
            delay = min(delay, max(0.0, (self._heap[0][0] - now_ms()) / 1000))
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return
