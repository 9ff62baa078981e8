"""PostgreSQL through asyncpg; needs the extra ``postgres``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection, exc
from sqlalchemy.ext.asyncio import create_async_engine

from wardian.server.configuration import ConfigurationError
from wardian.server.store import migrations
from wardian.server.store.database import unavailable

Result = TypeVar("Result")


class PostgresDatabase:
    """PostgreSQL through asyncpg."""

    def __init__(self, url: str) -> None:
        try:
            self._engine = create_async_engine(
                url, pool_size=10, max_overflow=0, pool_pre_ping=True
            )
        except (exc.ArgumentError, ValueError) as error:
            # Without the cause: the URL may hold a password.
            raise ConfigurationError("control/database-url is not a PostgreSQL URL") from error

    @classmethod
    async def open(cls, url: str) -> PostgresDatabase:
        """Connects and brings the schema to the newest form.

        Args:
            url: ``postgresql+asyncpg://…``.
        """
        database = cls(url)
        await database.run(migrations.upgrade)
        return database

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """See :meth:`Database.run`."""
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        except exc.IntegrityError:
            raise
        except (exc.DBAPIError, exc.TimeoutError, OSError) as error:
            raise unavailable(error) from error

    async def close(self) -> None:
        """See :meth:`Database.close`."""
        await self._engine.dispose()
