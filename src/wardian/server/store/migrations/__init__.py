"""Numbered migrations: each SQL file is applied once, in order, in one transaction.

The files use only what SQLite and PostgreSQL both understand. A file that has shipped is never
edited; a change is a new file.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from importlib import resources

from sqlalchemy import Connection

from wardian.server.configuration import ConfigurationError

_FILE = re.compile(r"(\d{4})_[a-z_]+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file; ``statements`` in the order they run."""

    number: int
    statements: tuple[str, ...]


def shipped() -> list[Migration]:
    """All migrations of this version, oldest first."""
    found: list[Migration] = []
    for entry in resources.files(__name__).iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            lines = [
                line for line in entry.read_text("utf-8").splitlines() if not line.startswith("--")
            ]
            parts = "\n".join(lines).split(";\n")
            statements = tuple(part.strip().rstrip(";") for part in parts if part.strip())
            found.append(Migration(int(match[1]), statements))
    return sorted(found, key=lambda migration: migration.number)


def upgrade(connection: Connection, migrations: list[Migration] | None = None) -> list[int]:
    """Applies what is missing.

    Args:
        connection: inside a transaction.
        migrations: what there is; by default all that ship.

    Returns:
        The numbers that were applied now.

    Raises:
        ConfigurationError: the database was written by a newer version.
    """
    wanted = shipped() if migrations is None else migrations
    connection.exec_driver_sql(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number INTEGER NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)"
    )
    rows = connection.exec_driver_sql("SELECT number FROM migrations")
    done = {int(row[0]) for row in rows}
    unknown = done - {migration.number for migration in wanted}
    if unknown:
        raise ConfigurationError(
            f"the database has migration {max(unknown)}, which this version does not know:"
            " run the version that wrote it, or a newer one"
        )
    applied: list[int] = []
    for migration in wanted:
        if migration.number in done:
            continue
        for statement in migration.statements:
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(
            "INSERT INTO migrations (number, applied_at)"
            f" VALUES ({migration.number:d}, {time.time_ns() // 1_000_000:d})"
        )
        applied.append(migration.number)
    return applied
