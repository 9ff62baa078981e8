"""Takes what the edge reports and keeps it, off the way of everything else; and who follows it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager

from wardian.server.errors import NoCapacity, WardianError
from wardian.server.node.edge_messages import EgressReport
from wardian.server.node.egress_messages import Event, Traffic
from wardian.server.store.egress_events import EgressEventStore, EventFilter, NumberedEvent

log = logging.getLogger(__name__)

_MOST_WAITING = 65_536
_MOST_PER_BATCH = 512
_RETRY_SECONDS = 1.0
_LAST_SECONDS = 1.0
_MOST_FOLLOWERS = 1_024
_PAGE = 512


class Record:
    """The record of what went out.

    Args:
        store: keeps it.
    """

    def __init__(self, store: EgressEventStore) -> None:
        self.store = store
        #: Events that found no room on their way here since this process began.
        self.lost = 0
        self._waiting: deque[Event] = deque()
        self._traffic: dict[str, Traffic] = {}
        self._arrived = asyncio.Event()
        self._followers: dict[str, set[asyncio.Event]] = {}
        self._following = 0

    def take(self, report: EgressReport) -> None:
        """Takes a report of the edge; waits for nothing."""
        room = _MOST_WAITING - len(self._waiting)
        self._waiting.extend(report.events[:room])
        lost = report.lost + max(0, len(report.events) - room)
        if lost:
            self.lost += lost
            log.warning("egress events were lost", extra={"events": lost})
        for each in report.traffic:
            self._sum_up(each)
        self._arrived.set()

    async def run(self) -> None:
        """Keeps what comes in until cancelled; then what is left, if that can be done at once."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting or self._traffic:
                    await self._keep_some()
        finally:
            try:
                async with asyncio.timeout(_LAST_SECONDS):
                    await self._keep_the_rest()
            except (TimeoutError, WardianError):
                log.warning("egress events were lost", extra={"events": len(self._waiting)})

    async def traffic(self, sandbox: str) -> tuple[int, int]:
        """Bytes from a sandbox to the world, and to it, also those not kept yet."""
        waiting = self._traffic.get(sandbox)
        sent, received = await self.store.traffic(sandbox)
        if waiting is None:
            return sent, received
        return sent + waiting.sent, received + waiting.received

    async def export(self, sandbox: str, wanted: EventFilter) -> AsyncGenerator[NumberedEvent]:
        """All events kept of a sandbox, oldest first."""
        number = 0
        while found := await self.store.after(sandbox, wanted, _PAGE, number):
            for each in found:
                yield each
            number = found[-1].number

    @contextmanager
    def followed(self, sandbox: str) -> Generator[asyncio.Event]:
        """An event that is set whenever something of the sandbox was kept.

        Raises:
            NoCapacity: there are as many followers as there may be.
        """
        if self._following >= _MOST_FOLLOWERS:
            raise NoCapacity(f"{_MOST_FOLLOWERS} follow egress events already", "try again later")
        news = asyncio.Event()
        self._following += 1
        self._followers.setdefault(sandbox, set()).add(news)
        try:
            yield news
        finally:
            self._following -= 1
            others = self._followers[sandbox]
            others.discard(news)
            if not others:
                del self._followers[sandbox]

    async def _keep_some(self) -> None:
        count = min(len(self._waiting), _MOST_PER_BATCH)
        # Taken out first: when this is cancelled the database does its work in any case.
        batch = [self._waiting.popleft() for _ in range(count)]
        traffic, self._traffic = self._traffic, {}
        try:
            await self.store.append(batch, traffic.values())
        except WardianError as error:
            self._waiting.extendleft(reversed(batch))
            for each in traffic.values():
                self._sum_up(each)
            log.warning("egress events wait for the database", extra={"cause": error.message})
            await asyncio.sleep(_RETRY_SECONDS)
            return
        for sandbox in {event.sandbox for event in batch}:
            for news in self._followers.get(sandbox, ()):
                news.set()

    async def _keep_the_rest(self) -> None:
        while self._waiting or self._traffic:
            await self._keep_some()

    def _sum_up(self, traffic: Traffic) -> None:
        known = self._traffic.get(traffic.sandbox)
        if known is not None:
            traffic = Traffic(
                traffic.sandbox, traffic.sent + known.sent, traffic.received + known.received
            )
        self._traffic[traffic.sandbox] = traffic
