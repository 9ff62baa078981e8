"""The egress authorities of nodes in the database, their keys encrypted."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select

from wardian.server.egress import authority
from wardian.server.egress.authority import Authority
from wardian.server.store import tables
from wardian.server.store.database import Database
from wardian.server.store.sealing import Sealer

_table = tables.authorities
_get = select(_table).where(_table.c.instance == bindparam("of_instance"))
_delete = delete(_table).where(_table.c.instance == bindparam("of_instance"))
_insert = insert(_table)


async def obtain(database: Database, sealer: Sealer, instance: str) -> Authority:
    """The authority of a node; made at its first start, and again when it has run out."""

    def work(connection: Connection) -> Authority:
        row = connection.execute(_get, {"of_instance": instance}).first()
        if row is not None:
            key = sealer.open(row.private_key, context(instance)).decode()
            known = Authority(row.certificate, key)
            if known.usable:
                return known
        made = authority.new(instance)
        values = {
            "instance": instance,
            "certificate": made.certificate,
            "private_key": sealer.seal(made.key.encode(), context(instance)),
        }
        connection.execute(_delete, {"of_instance": instance})
        connection.execute(_insert, values)
        return made

    return await database.run(work)


def context(instance: str) -> str:
    """What a key is sealed for."""
    return f"egress-authority:{instance}"
