"""Two engines, one way to use them: a function that gets a connection inside a transaction.

SQLite runs on one thread of its own. What is queued while a transaction runs goes into the next
one together, each piece under a savepoint, so a burst of creates costs a few commits instead of
hundreds. PostgreSQL (``postgres.py``) runs the same functions through an async engine.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, exc

from wardian.server.errors import Unavailable
from wardian.server.store import migrations

Result = TypeVar("Result")
_MOST_PER_TRANSACTION = 64


class Database(Protocol):
    """Where records are kept."""

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """Runs ``work`` in a transaction: all of it happens, or nothing.

        Raises:
            Unavailable: the database does not answer or can't write.
        """
        ...

    async def close(self) -> None:
        """Finishes what is queued and lets the database go."""
        ...


class _Job:
    def __init__(self, work: Callable[[Connection], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def attempt(self, connection: Connection, driver: sqlite3.Connection) -> None:
        driver.execute("SAVEPOINT job")
        try:
            self.result = self.work(connection)
        except exc.OperationalError:
            # The disk or the file: not this job's doing, ends the batch.
            raise
        except Exception as error:
            self.error = error
            driver.execute("ROLLBACK TO job")
        driver.execute("RELEASE job")

    def settle(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class SqliteDatabase:
    """SQLite in WAL mode on one thread."""

    def __init__(self, path: Path) -> None:
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)), connect_args={"check_same_thread": False}
        )
        event.listen(self._engine, "connect", _prepare_sqlite)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteDatabase:
        """Opens or makes the file and brings it to the newest form."""
        database = cls(path)
        try:
            # One connection for good, and transactions by hand: what SQLAlchemy does around each
            # would cost more than the statements in it.
            connection = database._engine.connect()
        except exc.DBAPIError as error:
            raise unavailable(error) from error
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        database._thread = threading.Thread(
            target=database._serve, args=(connection,), name="store", daemon=True
        )
        database._thread.start()
        await database.run(migrations.upgrade)
        return database

    async def run(self, work: Callable[[Connection], Result]) -> Result:
        """See :meth:`Database.run`."""
        if self._closed:
            raise Unavailable("the database is closed: the server is shutting down")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        """See :meth:`Database.close`."""
        self._closed = True
        self._queue.put(None)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._engine.dispose()

    def _serve(self, connection: Connection) -> None:
        driver = connection.connection.dbapi_connection
        if not isinstance(driver, sqlite3.Connection):
            raise TypeError(f"not a connection of sqlite3: {driver!r}")
        while True:
            jobs, last = self._next_batch()
            if jobs:
                _transact(jobs, connection, driver)
                # The loop may be gone when the process ends: then nobody waits any more.
                loop = jobs[0].future.get_loop()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, jobs)
            if last:
                connection.close()
                return

    def _next_batch(self) -> tuple[list[_Job], bool]:
        job = self._queue.get()
        jobs: list[_Job] = []
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MOST_PER_TRANSACTION:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True


def _transact(jobs: list[_Job], connection: Connection, driver: sqlite3.Connection) -> None:
    try:
        # Deferred: reads take no lock, and there is no other writer that could come between.
        driver.execute("BEGIN")
        for job in jobs:
            job.attempt(connection, driver)
        driver.execute("COMMIT")
    except Exception as error:
        failure = unavailable(error)
        for job in jobs:
            job.error = failure
        if driver.in_transaction:
            driver.execute("ROLLBACK")


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


def unavailable(error: Exception) -> Unavailable:
    """What a caller is told when the database fails; the log has the cause."""
    failure = Unavailable("the database can't be used now", "see the server's log")
    failure.__cause__ = error
    return failure


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=5000",
    ):
        connection.execute(f"PRAGMA {pragma}")
