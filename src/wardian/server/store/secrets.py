"""Secrets in the database, their values encrypted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, insert, select

from wardian.server.secrets.model import Secret
from wardian.server.store import tables
from wardian.server.store.database import Database
from wardian.server.store.sealing import Sealer

_table = tables.secrets
_all = select(_table).order_by(_table.c.tenant, _table.c.name)
_of_tenant = select(_table).where(_table.c.tenant == bindparam("of_tenant"))
_insert = insert(_table)
_delete = delete(_table).where(
    _table.c.tenant == bindparam("of_tenant"), _table.c.name == bindparam("of_name")
)

Decide = Callable[[dict[str, Secret]], Secret]


class SecretStore:
    """Keeps secrets."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def all(self) -> list[Secret]:
        """Those of all tenants."""

        def work(connection: Connection) -> list[Secret]:
            return [self._from_row(row) for row in connection.execute(_all)]

        return await self._database.run(work)

    async def put(self, tenant: str, decide: Decide) -> Secret:
        """Stores what ``decide`` makes of the tenant's secrets by name, in place of the one of its
        name. What ``decide`` raises changes nothing.
        """

        def work(connection: Connection) -> Secret:
            rows = connection.execute(_of_tenant, {"of_tenant": tenant})
            made = decide({row.name: self._from_row(row) for row in rows})
            connection.execute(_delete, {"of_tenant": tenant, "of_name": made.name})
            connection.execute(_insert, self._to_row(made))
            return made

        return await self._database.run(work)

    async def delete(self, tenant: str, name: str) -> None:
        """Removes one; that there is none is no error."""

        def work(connection: Connection) -> None:
            connection.execute(_delete, {"of_tenant": tenant, "of_name": name})

        await self._database.run(work)

    def _to_row(self, secret: Secret) -> dict[str, object]:
        return {
            "tenant": secret.tenant,
            "name": secret.name,
            "hosts": msgspec.json.encode(secret.hosts).decode(),
            "value": self._sealer.seal(secret.value.encode(), context(secret.tenant, secret.name)),
            "created_at": secret.created_at,
            "updated_at": secret.updated_at,
        }

    def _from_row(self, row: Row[Any]) -> Secret:
        return Secret(
            tenant=row.tenant,
            name=row.name,
            value=self._sealer.open(row.value, context(row.tenant, row.name)).decode(),
            hosts=msgspec.json.decode(row.hosts, type=tuple[str, ...]),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


def context(tenant: str, name: str) -> str:
    """What a value is sealed for."""
    return f"secret:{tenant}:{name}"
