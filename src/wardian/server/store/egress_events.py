"""What happened on the way out, in the database: so many events of each sandbox, so many in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from wardian.server.node.egress_messages import Event, Traffic
from wardian.server.store import tables
from wardian.server.store.database import Database

MOST_PER_SANDBOX = 10_000
MOST_IN_ALL = 500_000
# Of those in all so many more are dropped at once, so that it is not done with every batch.
_SLACK = 5_000

_table = tables.egress_events
_traffic = tables.egress_traffic
_highest = select(func.max(_table.c.number))
_counts = select(_table.c.sandbox, func.count()).group_by(_table.c.sandbox)
_insert = insert(_table)
_bound = (
    select(_table.c.number)
    .where(_table.c.sandbox == bindparam("of_sandbox"))
    .order_by(_table.c.number.desc())
    .offset(bindparam("most"))
    .limit(1)
)
_bound_of_all = select(_table.c.number).order_by(_table.c.number).offset(bindparam("most")).limit(1)
_drop = delete(_table).where(
    _table.c.sandbox == bindparam("of_sandbox"), _table.c.number <= bindparam("bound")
)
_drop_of_all = delete(_table).where(_table.c.number <= bindparam("bound"))
_add_traffic = (
    update(_traffic)
    .where(_traffic.c.sandbox == bindparam("of_sandbox"))
    .values(
        bytes_sent=_traffic.c.bytes_sent + bindparam("sent"),
        bytes_received=_traffic.c.bytes_received + bindparam("received"),
    )
)
_first_traffic = insert(_traffic)
_get_traffic = select(_traffic.c.bytes_sent, _traffic.c.bytes_received).where(
    _traffic.c.sandbox == bindparam("of_sandbox")
)
_event = msgspec.json.Decoder(Event)


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event and its place among all of this node: later ones have higher numbers."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; what is ``None`` excludes nothing."""

    verdict: str | None = None
    kind: str | None = None
    host: str | None = None


@dataclass(slots=True)
class _Kept:
    highest: int = 0
    per_sandbox: Counter[str] = field(default_factory=Counter[str])


class EgressEventStore:
    """Keeps events, also of sandboxes that have ended; the oldest make room. One process writes.

    Args:
        database: where.
        most_per_sandbox: how many events of one sandbox are kept.
        most_in_all: how many of all together.
    """

    def __init__(
        self,
        database: Database,
        most_per_sandbox: int = MOST_PER_SANDBOX,
        most_in_all: int = MOST_IN_ALL,
    ) -> None:
        self._database = database
        self._most_per_sandbox = most_per_sandbox
        self._most_in_all = most_in_all
        # Counted once, then kept up to date: counting costs more than a batch.
        self._kept: _Kept | None = None

    async def append(self, events: Sequence[Event], traffic: Iterable[Traffic]) -> None:
        """Adds events in their order, and sums up traffic."""
        summed = list(traffic)
        # Known again once it is committed; whoever is cancelled before leaves it to be counted.
        known, self._kept = self._kept, None

        def work(connection: Connection) -> _Kept:
            kept = _count(connection) if known is None else known
            self._insert(connection, kept, events)
            for each in summed:
                _sum_up(connection, each)
            return kept

        self._kept = await self._database.run(work)

    async def page(
        self, sandbox: str, wanted: EventFilter, limit: int, before: int | None
    ) -> list[NumberedEvent]:
        """A sandbox's events, newest first, of lower numbers than ``before``."""
        query = _select(sandbox, wanted).order_by(_table.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(_table.c.number < before)
        return await self._read(query)

    async def after(
        self, sandbox: str, wanted: EventFilter, limit: int, number: int
    ) -> list[NumberedEvent]:
        """A sandbox's events, oldest first, of higher numbers than ``number``."""
        query = _select(sandbox, wanted).order_by(_table.c.number).limit(limit)
        return await self._read(query.where(_table.c.number > number))

    async def highest(self) -> int:
        """The number of the latest event; 0: there was none."""
        return await self._database.run(
            lambda connection: connection.execute(_highest).scalar() or 0
        )

    async def traffic(self, sandbox: str) -> tuple[int, int]:
        """Bytes from a sandbox to the world, and to it."""

        def work(connection: Connection) -> tuple[int, int]:
            row = connection.execute(_get_traffic, {"of_sandbox": sandbox}).first()
            return (0, 0) if row is None else (row.bytes_sent, row.bytes_received)

        return await self._database.run(work)

    async def _read(self, query: Select[*tuple[Any, ...]]) -> list[NumberedEvent]:
        def work(connection: Connection) -> list[NumberedEvent]:
            return [_from_row(row) for row in connection.execute(query)]

        return await self._database.run(work)

    def _insert(self, connection: Connection, kept: _Kept, events: Sequence[Event]) -> None:
        if not events:
            return
        rows = [
            _to_row(number, event) for number, event in enumerate(events, start=kept.highest + 1)
        ]
        connection.execute(_insert, rows)
        kept.highest += len(events)
        touched = Counter(event.sandbox for event in events)
        kept.per_sandbox.update(touched)
        for sandbox in touched:
            if kept.per_sandbox[sandbox] > self._most_per_sandbox:
                self._drop(connection, kept, sandbox)
        excess = kept.per_sandbox.total() - self._most_in_all
        if excess > 0:
            slack = min(_SLACK, self._most_in_all // 100)
            bound = connection.execute(_bound_of_all, {"most": excess + slack - 1}).scalar()
            if bound is not None:
                connection.execute(_drop_of_all, {"bound": bound})
            kept.per_sandbox = _count(connection).per_sandbox

    def _drop(self, connection: Connection, kept: _Kept, sandbox: str) -> None:
        values = {"of_sandbox": sandbox, "most": self._most_per_sandbox}
        bound = connection.execute(_bound, values).scalar()
        if bound is not None:
            values = {"of_sandbox": sandbox, "bound": bound}
            kept.per_sandbox[sandbox] -= connection.execute(_drop, values).rowcount


def _count(connection: Connection) -> _Kept:
    per_sandbox = Counter({sandbox: count for sandbox, count in connection.execute(_counts)})
    return _Kept(connection.execute(_highest).scalar() or 0, per_sandbox)


def _sum_up(connection: Connection, traffic: Traffic) -> None:
    values = {
        "of_sandbox": traffic.sandbox,
        "sent": traffic.sent,
        "received": traffic.received,
    }
    if connection.execute(_add_traffic, values).rowcount == 0:
        row = {
            "sandbox": traffic.sandbox,
            "bytes_sent": traffic.sent,
            "bytes_received": traffic.received,
        }
        connection.execute(_first_traffic, row)


def _select(sandbox: str, wanted: EventFilter) -> Select[*tuple[Any, ...]]:
    query = select(_table.c.number, _table.c.event).where(_table.c.sandbox == sandbox)
    for column, value in (
        (_table.c.verdict, wanted.verdict),
        (_table.c.kind, wanted.kind),
        (_table.c.host, wanted.host),
    ):
        if value is not None:
            query = query.where(column == value)
    return query


def _to_row(number: int, event: Event) -> dict[str, object]:
    return {
        "number": number,
        "sandbox": event.sandbox,
        "kind": event.kind,
        "verdict": event.verdict,
        "host": event.host,
        "event": msgspec.json.encode(event).decode(),
    }


def _from_row(row: Row[Any]) -> NumberedEvent:
    return NumberedEvent(row.number, _event.decode(row.event))
