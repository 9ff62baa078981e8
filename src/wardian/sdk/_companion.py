"""Work that goes on beside its owner and ends with it: a task, or a thread in blocking code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable


class Companion:
    """Work in a thread of its own, which keeps no program from ending.

    Attributes:
        closed: Its owner wants no more of it; the work looks at this from time to time.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self.closed = False
        self._failure: BaseException | None = None
        # Only once the owner has this in hand: the work may look at it at once.
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()
        self._ready.set()

    def _run(self, work: Callable[[], object]) -> None:
        self._ready.wait()
        try:
            work()
        except BaseException as error:
            self._failure = error

    def close(self) -> None:
        """Want no more of it. Raises what the work raised."""
        self.closed = True
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


class AsyncCompanion:
    """Work in a task of its own.

    Attributes:
        closed: Its owner wants no more of it.
    """

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self.closed = False
        self._task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[object]]) -> None:
        await work()

    async def close(self) -> None:
        """End it. Raises what the work raised."""
        self.closed = True
        if self._task is asyncio.current_task():
            return
        self._task.cancel()
        try:
            await self._task
        except asyncio.CancelledError:
            # The task's; should we be cancelled ourselves, say so.
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                raise
