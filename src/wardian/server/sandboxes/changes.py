"""Who is changing which sandbox right now.

Every change of a sandbox's state happens under its own lock. The reconciler compares two
snapshots that were not taken at one instant; what changed while it looked must not be judged, so
it observes which sandboxes were touched meanwhile and leaves those for its next turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Changes:
    """Locks per sandbox, observable."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}
        self._observers: list[set[str]] = []

    @asynccontextmanager
    async def of(self, sandbox: str) -> AsyncGenerator[None]:
        """Holds the lock of one sandbox."""
        turn = self._turns.setdefault(sandbox, _Turn())
        turn.waiting += 1
        for touched in self._observers:
            touched.add(sandbox)
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if turn.waiting == 0:
                del self._turns[sandbox]

    @contextmanager
    def observe(self) -> Generator[set[str]]:
        """The sandboxes being changed now, growing by those touched while it is held."""
        touched = set(self._turns)
        self._observers.append(touched)
        try:
            yield touched
        finally:
            # By identity: two observers may hold equal sets.
            self._observers = [other for other in self._observers if other is not touched]
