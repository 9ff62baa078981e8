"""Exposures in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from wardian.server.exposures.model import Exposure, ExposureSecrets
from wardian.server.sandboxes.records import State
from wardian.server.store import tables
from wardian.server.store.database import Database
from wardian.server.store.sealing import Sealer

_table = tables.exposures
_of_sandbox = (
    select(_table).where(_table.c.sandbox == bindparam("of_sandbox")).order_by(_table.c.port)
)
_of_live = (
    select(_table)
    .join(tables.sandboxes, tables.sandboxes.c.id == _table.c.sandbox)
    .where(tables.sandboxes.c.state != State.ENDED.value)
    .order_by(_table.c.sandbox, _table.c.port)
)
_insert = insert(_table)
_delete = delete(_table).where(
    _table.c.sandbox == bindparam("of_sandbox"), _table.c.port == bindparam("of_port")
)
_secrets = msgspec.json.Decoder(ExposureSecrets)

Decide = Callable[[list[Exposure]], Exposure]


class ExposureStore:
    """Keeps exposures; those of an ended sandbox stay, so that their addresses are known."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def of(self, sandbox: str) -> list[Exposure]:
        """A sandbox's exposures, by port."""
        return await self._database.run(lambda connection: self._read(connection, sandbox))

    async def of_live(self) -> list[Exposure]:
        """Those of all sandboxes that have not ended."""

        def work(connection: Connection) -> list[Exposure]:
            return [self._from_row(row) for row in connection.execute(_of_live)]

        return await self._database.run(work)

    async def put(self, sandbox: str, decide: Decide) -> tuple[Exposure, list[Exposure]]:
        """Stores the exposure that ``decide`` makes of those there are, in place of that of its
        port; returns it and all there are then. What ``decide`` raises changes nothing.
        """

        def work(connection: Connection) -> tuple[Exposure, list[Exposure]]:
            made = decide(self._read(connection, sandbox))
            connection.execute(_delete, {"of_sandbox": sandbox, "of_port": made.port})
            connection.execute(_insert, self._to_row(made))
            return made, self._read(connection, sandbox)

        return await self._database.run(work)

    async def delete(self, sandbox: str, port: int) -> list[Exposure]:
        """Removes one; that there is none is no error. Returns those that are left."""

        def work(connection: Connection) -> list[Exposure]:
            connection.execute(_delete, {"of_sandbox": sandbox, "of_port": port})
            return self._read(connection, sandbox)

        return await self._database.run(work)

    def _read(self, connection: Connection, sandbox: str) -> list[Exposure]:
        rows = connection.execute(_of_sandbox, {"of_sandbox": sandbox})
        return [self._from_row(row) for row in rows]

    def _to_row(self, exposure: Exposure) -> dict[str, object]:
        sealed = msgspec.json.encode(exposure.secrets)
        return {
            "sandbox": exposure.sandbox,
            "port": exposure.port,
            "name": exposure.name,
            "visibility": exposure.visibility,
            "host_header": exposure.host_header,
            "secrets": self._sealer.seal(sealed, context(exposure.sandbox, exposure.port)),
            "created_at": exposure.created_at,
        }

    def _from_row(self, row: Row[Any]) -> Exposure:
        opened = self._sealer.open(row.secrets, context(row.sandbox, row.port))
        return Exposure(
            sandbox=row.sandbox,
            port=row.port,
            name=row.name,
            visibility=row.visibility,
            host_header=row.host_header,
            secrets=_secrets.decode(opened),
            created_at=row.created_at,
        )


def context(sandbox: str, port: int) -> str:
    """What token and signing key are sealed for."""
    return f"{sandbox}:{port}"
