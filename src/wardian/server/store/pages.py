"""Lists of sandboxes: filters, and cursors that stay true while sandboxes come and go."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Select, and_, exists, or_, select

from wardian.server.errors import InvalidRequest
from wardian.server.sandboxes.identifiers import is_sandbox_id
from wardian.server.sandboxes.records import LIVE_STATES, SandboxRecord, State
from wardian.server.store import tables


@dataclass(frozen=True, slots=True)
class Position:
    """The last sandbox of a page: the next page begins after it, newest first."""

    created_at: int
    id: str

    def cursor(self) -> str:
        """The position as text that callers hand back."""
        plain = msgspec.json.encode([self.created_at, self.id])
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> Position:
        """Reads what :meth:`cursor` wrote.

        Raises:
            InvalidRequest: it is something else.
        """
        wrong = InvalidRequest("cursor is not one that a list call returned - at `$.cursor`")
        if len(cursor) > 128 or not cursor.isascii():
            raise wrong
        try:
            plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            created_at, sandbox = msgspec.json.decode(plain, type=tuple[int, str])
        except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise wrong from error
        if not 0 <= created_at < 2**63 or not is_sandbox_id(sandbox):
            raise wrong
        return cls(created_at, sandbox)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sandboxes; what is empty or ``None`` excludes nothing."""

    states: frozenset[State] = LIVE_STATES
    labels: tuple[tuple[str, str], ...] = field(default=())
    template: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some sandboxes and where the next page begins; ``None``: there is no more."""

    sandboxes: list[SandboxRecord]
    next: Position | None


def statement(tenant: str, wanted: Filter, limit: int, after: Position | None) -> Select[Any]:
    """Selects one more row than ``limit``, to know whether there is a next page."""
    table = tables.sandboxes
    query = select(table).where(
        table.c.tenant == tenant, table.c.state.in_([state.value for state in wanted.states])
    )
    if wanted.template is not None:
        query = query.where(table.c.template == wanted.template)
    if wanted.name is not None:
        query = query.where(table.c.name == wanted.name)
    for key, value in wanted.labels:
        label = tables.sandbox_labels.alias()
        query = query.where(
            exists().where(
                label.c.sandbox == table.c.id, label.c.key == key, label.c.value == value
            )
        )
    if after is not None:
        query = query.where(
            or_(
                table.c.created_at < after.created_at,
                and_(table.c.created_at == after.created_at, table.c.id < after.id),
            )
        )
    return query.order_by(table.c.created_at.desc(), table.c.id.desc()).limit(limit + 1)
