"""Work that goes on beside its owner and ends with it: a task, or a thread in blocking code."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine


class Companion:
    """Work in a thread of its own, which keeps no program from ending.

    Attributes:
        closed: Its owner wants no more of it; the work, which is given this object, looks here
            from time to time.
    """

    def __init__(self, work: Callable[[Companion], object]) -> None:
        self.closed = False
        self._failure: BaseException | None = None
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[Companion], object]) -> None:
        try:
            work(self)
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

    def __init__(self, work: Callable[[AsyncCompanion], Coroutine[object, object, object]]) -> None:
        self.closed = False
        # This is the owner that a task needs.
        self._task = asyncio.create_task(work(self))  # noqa: TID251

    async def close(self) -> None:
        """End it. Raises what the work raised."""
        self.closed = True
        if self._task is asyncio.current_task():
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled() and (failure := self._task.exception()) is not None:
            raise failure
