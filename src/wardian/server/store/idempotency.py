"""Which sandbox a caller's Idempotency-Key stands for.

Functions over an open transaction: the key and its sandbox must be written together.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select

from wardian.server.errors import IdempotencyMismatch
from wardian.server.sandboxes.records import Idempotency
from wardian.server.store import tables

RETENTION_MS = 24 * 60 * 60 * 1000

_table = tables.idempotency
_get = select(_table.c.digest, _table.c.sandbox).where(
    _table.c.tenant == bindparam("tenant"), _table.c.key == bindparam("key")
)
_insert = insert(_table)
_release = delete(_table).where(_table.c.sandbox == bindparam("of_sandbox"))
_purge = delete(_table).where(_table.c.created_at < bindparam("before"))


def recall(connection: Connection, tenant: str, wanted: Idempotency) -> str | None:
    """The sandbox made under this key, or ``None``.

    Raises:
        IdempotencyMismatch: the key came before with another body.
    """
    row = connection.execute(_get, {"tenant": tenant, "key": wanted.key}).first()
    if row is None:
        return None
    if row.digest != wanted.digest:
        raise IdempotencyMismatch
    return row.sandbox


def remember(
    connection: Connection, tenant: str, wanted: Idempotency, sandbox: str, moment: int
) -> None:
    """Notes that ``sandbox`` is what the key stands for; ``moment`` in milliseconds."""
    connection.execute(
        _insert,
        {
            "tenant": tenant,
            "key": wanted.key,
            "digest": wanted.digest,
            "sandbox": sandbox,
            "created_at": moment,
        },
    )


def release(connection: Connection, sandbox: str) -> None:
    """Frees the key of a sandbox that never came to be, so that trying again can work."""
    connection.execute(_release, {"of_sandbox": sandbox})


def purge(connection: Connection, now: int) -> None:
    """Forgets keys older than :data:`RETENTION_MS`; ``now`` in milliseconds."""
    connection.execute(_purge, {"before": now - RETENTION_MS})
