"""API keys in the database: hashes only."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from wardian.server.keys.model import ApiKey
from wardian.server.store import tables
from wardian.server.store.database import Database

_table = tables.keys
_live = _table.c.deleted_at.is_(None)
_by_hash = select(_table).where(_table.c.hash == bindparam("hash"))
_by_id = select(_table).where(
    _table.c.id == bindparam("of_id"), _table.c.tenant == bindparam("of_tenant"), _live
)
_list = (
    select(_table)
    .where(_table.c.tenant == bindparam("of_tenant"), _live)
    .order_by(_table.c.created_at, _table.c.id)
)
_insert = insert(_table)
_delete = (
    update(_table)
    .where(_table.c.id == bindparam("of_id"), _table.c.tenant == bindparam("of_tenant"), _live)
    .values(deleted_at=bindparam("moment"))
    .returning(_table.c.hash)
)


class KeyStore:
    """Keeps keys by the SHA-256 of their text."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_hash(self, digest: str) -> ApiKey | None:
        """The key with this hash that was not deleted, or ``None``."""

        def work(connection: Connection) -> ApiKey | None:
            row = connection.execute(_by_hash, {"hash": digest}).first()
            return None if row is None or row.deleted_at is not None else _from_row(row)

        return await self._database.run(work)

    async def by_id(self, tenant: str, key_id: str) -> ApiKey | None:
        """A tenant's key that was not deleted, or ``None``."""

        def work(connection: Connection) -> ApiKey | None:
            row = connection.execute(_by_id, {"of_id": key_id, "of_tenant": tenant}).first()
            return None if row is None else _from_row(row)

        return await self._database.run(work)

    async def list(self, tenant: str) -> list[ApiKey]:
        """A tenant's keys, oldest first."""

        def work(connection: Connection) -> list[ApiKey]:
            return [_from_row(row) for row in connection.execute(_list, {"of_tenant": tenant})]

        return await self._database.run(work)

    async def add(self, key: ApiKey) -> bool:
        """Stores it; false when its hash is known already, also of a key since deleted."""
        values = {
            "id": key.id,
            "tenant": key.tenant,
            "name": key.name,
            "scopes": msgspec.json.encode(sorted(key.scopes)).decode(),
            "hash": key.hash,
            "created_at": key.created_at,
        }

        def work(connection: Connection) -> bool:
            if connection.execute(_by_hash, {"hash": key.hash}).first() is not None:
                return False
            connection.execute(_insert, values)
            return True

        return await self._database.run(work)

    async def delete(self, tenant: str, key_id: str, moment: int) -> str | None:
        """Deletes it; returns its hash, or ``None`` when the tenant has no such key."""

        def work(connection: Connection) -> str | None:
            values = {"of_id": key_id, "of_tenant": tenant, "moment": moment}
            return connection.execute(_delete, values).scalar_one_or_none()

        return await self._database.run(work)


def _from_row(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        name=row.name,
        scopes=frozenset(msgspec.json.decode(row.scopes, type=list[str])),
        hash=row.hash,
        created_at=row.created_at,
    )
