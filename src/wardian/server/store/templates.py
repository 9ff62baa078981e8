"""Templates in the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from wardian.server.egress.model import Egress
from wardian.server.store import tables
from wardian.server.store.database import Database
from wardian.server.templates.model import Template

_table = tables.templates
_get = select(_table).where(_table.c.name == bindparam("name"))
_list = select(_table).order_by(_table.c.name)
_insert = insert(_table)
_update = update(_table).where(_table.c.name == bindparam("known_name"))
_delete = delete(_table).where(_table.c.name == bindparam("name"))
_live_users = (
    select(func.count())
    .select_from(tables.sandboxes)
    .where(tables.sandboxes.c.template == bindparam("name"), tables.sandboxes.c.state != "ended")
)


class TemplateStore:
    """Keeps templates; knows nothing of the layers themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Every create reads its template; only this process writes them.
        self._known: dict[str, Template] = {}
        self._writes = 0

    async def get(self, name: str) -> Template | None:
        """The template of this name, or ``None``."""
        known = self._known.get(name)
        if known is not None:
            return known

        def work(connection: Connection) -> Template | None:
            row = connection.execute(_get, {"name": name}).first()
            return None if row is None else _from_row(row)

        writes = self._writes
        template = await self._database.run(work)
        if template is not None and writes == self._writes:
            self._known[name] = template
        return template

    async def list(self) -> list[Template]:
        """All templates, by name."""

        def work(connection: Connection) -> list[Template]:
            return [_from_row(row) for row in connection.execute(_list)]

        return await self._database.run(work)

    async def put(self, template: Template) -> None:
        """Stores it; one of the same name is replaced."""
        values = _to_row(template)

        def work(connection: Connection) -> None:
            if connection.execute(_update, values | {"known_name": template.name}).rowcount == 0:
                connection.execute(_insert, values)

        await self._changed(template.name, work)

    async def remove(self, name: str) -> bool:
        """Forgets it; false when there was none."""

        def work(connection: Connection) -> bool:
            return connection.execute(_delete, {"name": name}).rowcount > 0

        return await self._changed(name, work)

    async def live_users(self, name: str) -> int:
        """How many sandboxes that have not ended were made from it."""

        def work(connection: Connection) -> int:
            return connection.execute(_live_users, {"name": name}).scalar_one()

        return await self._database.run(work)

    async def _changed(self, name: str, work: Callable[[Connection], Any]) -> Any:
        try:
            return await self._database.run(work)
        finally:
            self._writes += 1
            self._known.pop(name, None)


def _to_row(template: Template) -> dict[str, object]:
    return {
        "name": template.name,
        "tenant": template.tenant,
        "layers": msgspec.json.encode(template.layers).decode(),
        "size_bytes": template.size_bytes,
        "default_user": template.user,
        "workdir": template.workdir,
        "env": msgspec.json.encode(template.env).decode(),
        "start_command": template.start_command,
        "source": template.source,
        "created_at": int(template.created_at.timestamp() * 1000),
        "egress": None
        if template.egress is None
        else msgspec.json.encode(template.egress).decode(),
    }


def _from_row(row: Row[Any]) -> Template:
    return Template(
        name=row.name,
        layers=msgspec.json.decode(row.layers, type=tuple[str, ...]),
        size_bytes=row.size_bytes,
        user=row.default_user,
        workdir=row.workdir,
        env=msgspec.json.decode(row.env, type=dict[str, str]),
        start_command=row.start_command,
        source=row.source,
        created_at=datetime.fromtimestamp(row.created_at / 1000, UTC),
        tenant=row.tenant,
        egress=None if row.egress is None else msgspec.json.decode(row.egress, type=Egress),
    )
