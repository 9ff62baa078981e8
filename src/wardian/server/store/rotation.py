"""A new key for everything that is sealed in the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Row, Table, bindparam, select, update

from wardian.server.store import authorities, exposures, secrets, tables
from wardian.server.store.database import Database
from wardian.server.store.sealing import Sealer


@dataclass(frozen=True, slots=True)
class _Sealed:
    table: Table
    column: Column[Any]
    context: Callable[[Row[Any]], str]

    @property
    def keys(self) -> Iterable[Column[Any]]:
        return self.table.primary_key.columns


_ALL = (
    _Sealed(tables.sandboxes, tables.sandboxes.c.secrets, lambda row: row.id),
    _Sealed(
        tables.exposures,
        tables.exposures.c.secrets,
        lambda row: exposures.context(row.sandbox, row.port),
    ),
    _Sealed(
        tables.secrets,
        tables.secrets.c.value,
        lambda row: secrets.context(row.tenant, row.name),
    ),
    _Sealed(
        tables.authorities,
        tables.authorities.c.private_key,
        lambda row: authorities.context(row.instance),
    ),
)


class Rotation:
    """Seals everything anew."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._turn = asyncio.Lock()

    async def run(self) -> int:
        """Makes a new key and seals everything under it; says how many things that were.

        Raises:
            Unavailable, WardianError: it could not be done. The old key is kept as long as
                anything may be sealed under it, and the next call or start finishes this one.
        """
        async with self._turn:
            if not self._sealer.unfinished:
                self._sealer.begin()
            return await self._reseal()

    async def finish(self) -> None:
        """Finishes what an earlier process began."""
        if self._sealer.unfinished:
            async with self._turn:
                await self._reseal()

    async def _reseal(self) -> int:
        count = 0
        # A writer that had sealed under the old key before the new one came may commit behind the
        # first pass; the second finds nothing of that kind left.
        while changed := await self._database.run(self._pass):
            count += changed
        self._sealer.finish()
        return count

    def _pass(self, connection: Connection) -> int:
        return sum(_reseal(connection, self._sealer, sealed) for sealed in _ALL)


def _reseal(connection: Connection, sealer: Sealer, sealed: _Sealed) -> int:
    changes: list[dict[str, Any]] = []
    for row in connection.execute(select(*sealed.keys, sealed.column)):
        anew = sealer.resealed(getattr(row, sealed.column.name), sealed.context(row))
        if anew is not None:
            names = {f"of_{key.name}": getattr(row, key.name) for key in sealed.keys}
            changes.append(names | {"new_text": anew})
    if changes:
        statement = update(sealed.table).values({sealed.column.name: bindparam("new_text")})
        for key in sealed.keys:
            statement = statement.where(key == bindparam(f"of_{key.name}"))
        connection.execute(statement, changes)
    return len(changes)
