"""Sandboxes in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Update,
    bindparam,
    delete,
    exc,
    func,
    insert,
    select,
    update,
)

from wardian.server.errors import NameTaken
from wardian.server.node.protocol import Usage
from wardian.server.sandboxes.records import Idempotency, SandboxRecord, Standing, State
from wardian.server.store import idempotency, tables
from wardian.server.store.database import Database
from wardian.server.store.pages import Filter, Page, Position, statement
from wardian.server.store.rows import egress_text, from_row, seal, to_row, to_text
from wardian.server.store.sealing import Sealer

Result = TypeVar("Result")

_table = tables.sandboxes
_labels = tables.sandbox_labels
_is_live = _table.c.state != State.ENDED.value
_by_id = select(_table).where(_table.c.id == bindparam("of_id"))
_by_name = select(_table).where(
    _table.c.tenant == bindparam("of_tenant"), _table.c.name == bindparam("of_name"), _is_live
)
_live = select(_table).where(_is_live).order_by(_table.c.id)
_standings = select(_table.c.id, _table.c.state, _table.c.ending).where(_is_live)
_count = select(_table.c.state, func.count()).where(_is_live).group_by(_table.c.state)
_insert = insert(_table)
_insert_label = insert(_labels)
_delete_labels = delete(_labels).where(_labels.c.sandbox == bindparam("of_id"))
_update_live = update(_table).where(_table.c.id == bindparam("of_id"), _is_live)
_set_running = _update_live.where(_table.c.state == State.CREATING.value).values(
    state=State.RUNNING.value, started_at=bindparam("moment")
)
_set_state = _update_live.values(state=bindparam("new_state"))
_set_ending = _update_live.values(ending=bindparam("new_ending"))
_set_ended = _update_live.values(
    state=State.ENDED.value,
    reason=bindparam("new_reason"),
    ended_at=bindparam("moment"),
    usage=bindparam("new_usage"),
    ending=None,
)
_set_details = _update_live.values(
    name=bindparam("new_name"),
    labels=bindparam("new_labels"),
    expires_at=bindparam("new_expiry"),
    secrets=bindparam("new_secrets"),
)
_set_egress = _update_live.values(egress=bindparam("new_egress"), secrets=bindparam("new_secrets"))


class SandboxStore:
    """Keeps the records of sandboxes."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def insert(self, record: SandboxRecord, wanted: Idempotency | None = None) -> str | None:
        """Stores a new record, with what its Idempotency-Key stands for.

        Returns:
            ``None``, or the id of the sandbox the key stands for already: then nothing was stored.

        Raises:
            NameTaken: a sandbox of this tenant that has not ended has the name.
            IdempotencyMismatch: the key came before with another body.
        """
        values = to_row(record, self._sealer)

        def work(connection: Connection) -> str | None:
            if wanted is not None:
                known = idempotency.recall(connection, record.tenant, wanted)
                if known is not None:
                    return known
                idempotency.remember(
                    connection, record.tenant, wanted, record.id, record.created_at
                )
            _refuse_taken_name(connection, record.tenant, record.name)
            connection.execute(_insert, values)
            _add_labels(connection, record.id, record.labels)
            return None

        return await self._looking_twice(work)

    async def made_under(self, tenant: str, wanted: Idempotency) -> str | None:
        """The id of the sandbox an Idempotency-Key stands for, or ``None``.

        Raises:
            IdempotencyMismatch: the key came before with another body.
        """
        return await self._database.run(
            lambda connection: idempotency.recall(connection, tenant, wanted)
        )

    async def by_id(self, sandbox: str) -> SandboxRecord | None:
        """The record of this id, whoever's it is."""

        def work(connection: Connection) -> SandboxRecord | None:
            row = connection.execute(_by_id, {"of_id": sandbox}).first()
            return None if row is None else from_row(row, self._sealer)

        return await self._database.run(work)

    async def find(self, tenant: str, *, id: str | None, name: str | None) -> SandboxRecord | None:
        """A tenant's sandbox by id, or by the name of one that has not ended."""

        def work(connection: Connection) -> SandboxRecord | None:
            row = None
            if id is not None:
                row = connection.execute(_by_id, {"of_id": id}).first()
            elif name is not None:
                values = {"of_tenant": tenant, "of_name": name}
                row = connection.execute(_by_name, values).first()
            if row is None or row.tenant != tenant:
                return None
            return from_row(row, self._sealer)

        return await self._database.run(work)

    async def page(self, tenant: str, wanted: Filter, limit: int, after: Position | None) -> Page:
        """A tenant's sandboxes, newest first, at most ``limit``."""
        query = statement(tenant, wanted, limit, after)

        def work(connection: Connection) -> Page:
            found = [from_row(row, self._sealer) for row in connection.execute(query)]
            last = found[limit - 1] if len(found) > limit else None
            following = None if last is None else Position(last.created_at, last.id)
            return Page(found[:limit], following)

        return await self._database.run(work)

    async def live(self) -> list[SandboxRecord]:
        """All sandboxes that have not ended, of all tenants."""

        def work(connection: Connection) -> list[SandboxRecord]:
            return [from_row(row, self._sealer) for row in connection.execute(_live)]

        return await self._database.run(work)

    async def standings(self) -> list[Standing]:
        """Where all sandboxes that have not ended stand, of all tenants."""

        def work(connection: Connection) -> list[Standing]:
            rows = connection.execute(_standings)
            return [Standing(id, State(state), ending) for id, state, ending in rows]

        return await self._database.run(work)

    async def count(self) -> dict[str, int]:
        """How many sandboxes that have not ended are in each state, of all tenants."""

        def work(connection: Connection) -> dict[str, int]:
            return {state: count for state, count in connection.execute(_count)}

        return await self._database.run(work)

    async def set_running(self, sandbox: str, moment: int) -> bool:
        """Notes that one being created runs; false when it is not being created any more."""
        return await self._change(_set_running, {"of_id": sandbox, "moment": moment})

    async def set_state(self, sandbox: str, state: State) -> bool:
        """Notes the state of one that has not ended."""
        return await self._change(_set_state, {"of_id": sandbox, "new_state": state.value})

    async def begin_ending(self, sandbox: str, reason: str) -> SandboxRecord | None:
        """Notes that it is to end, and why; returns the record as it was before."""

        def work(connection: Connection) -> SandboxRecord | None:
            row = connection.execute(_by_id, {"of_id": sandbox}).first()
            if row is None:
                return None
            if row.ending is None:
                connection.execute(_set_ending, {"of_id": sandbox, "new_ending": reason})
            return from_row(row, self._sealer)

        return await self._database.run(work)

    async def set_ended(
        self, sandbox: str, reason: str, moment: int, usage: Usage | None, *, never_ran: bool
    ) -> bool:
        """Notes that it has ended; false when that was noted before.

        Args:
            never_ran: its Idempotency-Key is freed, so that trying again can work.
        """
        values = {
            "of_id": sandbox,
            "new_reason": reason,
            "moment": moment,
            "new_usage": None if usage is None else to_text(usage),
        }

        def work(connection: Connection) -> bool:
            if never_ran:
                idempotency.release(connection, sandbox)
            return connection.execute(_set_ended, values).rowcount > 0

        return await self._database.run(work)

    async def set_details(self, record: SandboxRecord, changed: SandboxRecord) -> bool:
        """Replaces name, labels, expiry and secrets by those of ``changed``; false when the
        sandbox has ended.

        Raises:
            NameTaken: another sandbox of this tenant that has not ended has the name.
        """
        values = {
            "of_id": record.id,
            "new_name": changed.name,
            "new_labels": to_text(changed.labels),
            "new_expiry": changed.expires_at,
            "new_secrets": seal(changed, self._sealer),
        }

        def work(connection: Connection) -> bool:
            if changed.name != record.name:
                _refuse_taken_name(connection, record.tenant, changed.name)
            if connection.execute(_set_details, values).rowcount == 0:
                return False
            if changed.labels != record.labels:
                connection.execute(_delete_labels, {"of_id": record.id})
                _add_labels(connection, record.id, changed.labels)
            return True

        return await self._looking_twice(work)

    async def set_egress(self, changed: SandboxRecord) -> bool:
        """Replaces egress and secrets by those of ``changed``; false when it has ended."""
        values = {
            "of_id": changed.id,
            "new_egress": egress_text(changed),
            "new_secrets": seal(changed, self._sealer),
        }
        return await self._change(_set_egress, values)

    async def purge_idempotency(self, now: int) -> None:
        """Forgets Idempotency-Keys that are too old; ``now`` in milliseconds."""
        await self._database.run(lambda connection: idempotency.purge(connection, now))

    async def _change(self, change: Update, values: dict[str, Any]) -> bool:
        def work(connection: Connection) -> bool:
            return connection.execute(change, values).rowcount > 0

        return await self._database.run(work)

    async def _looking_twice(self, work: Callable[[Connection], Result]) -> Result:
        # Two writers at once may both see a name or key free. The unique index stops the second;
        # looking again it finds what the first wrote and gives the proper answer.
        try:
            return await self._database.run(work)
        except exc.IntegrityError:
            return await self._database.run(work)


def _refuse_taken_name(connection: Connection, tenant: str, name: str | None) -> None:
    if name is None:
        return
    values = {"of_tenant": tenant, "of_name": name}
    if connection.execute(_by_name, values).first() is not None:
        raise NameTaken(name)


def _add_labels(connection: Connection, sandbox: str, labels: dict[str, str]) -> None:
    if labels:
        rows = [{"sandbox": sandbox, "key": key, "value": value} for key, value in labels.items()]
        connection.execute(_insert_label, rows)
