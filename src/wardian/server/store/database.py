"""Two engines, one way to use them: a function that gets a connection inside a transaction.

SQLite runs on one thread of its own. What is queued while a transaction runs goes into the next
one together, each piece under a savepoint, so a burst of creates costs a few commits instead of
hundreds. PostgreSQL (``postgres.py``) runs the same functions through an async engine.
"""

from __future__ import annotations

import asyncio
import queue
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

    def attempt(self, connection: Connection) -> None:
        try:
            with connection.begin_nested():
                self.result = self.work(connection)
        except exc.OperationalError:
            # The disk or the file: not this job's doing, ends the batch.
            raise
        except Exception as error:
            self.error = error

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
        event.listen(self._engine, "begin", _begin_sqlite)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="store", daemon=True)
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteDatabase:
        """Opens or makes the file and brings it to the newest form."""
        database = cls(path)
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
        await asyncio.to_thread(self._thread.join)
        self._engine.dispose()

    def _serve(self) -> None:
        while True:
            jobs, last = self._next_batch()
            if jobs:
                self._transact(jobs)
                # The loop may be gone when the process ends: then nobody waits any more.
                loop = jobs[0].future.get_loop()
                if not loop.is_closed():
                    loop.call_soon_threadsafe(_settle, jobs)
            if last:
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

    def _transact(self, jobs: list[_Job]) -> None:
        try:
            with self._engine.begin() as connection:
                for job in jobs:
                    job.attempt(connection)
        except Exception as error:
            failure = unavailable(error)
            for job in jobs:
                job.error = failure


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        job.settle()


def unavailable(error: Exception) -> Unavailable:
    """What a caller is told when the database fails; the log has the cause."""
    failure = Unavailable("the database can't be used now", "see the server's log")
    failure.__cause__ = error
    return failure


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would otherwise begin transactions by its own rules and break savepoints.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        "busy_timeout=5000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
