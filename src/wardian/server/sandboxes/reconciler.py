"""Brings records and kernel together: at start, after each restart of the launcher, and in turn."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from wardian.server.errors import WardianError
from wardian.server.node.launcher import LauncherClient, Watching
from wardian.server.node.protocol import Ended, EndedEvent, Frozen, SandboxStatus
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.lifecycle import Lifecycle
from wardian.server.sandboxes.records import (
    FAILED,
    REASON_NODE_LOST,
    Standing,
    State,
    now_ms,
    recorded_reason,
)
from wardian.server.store.sandboxes import SandboxStore

log = logging.getLogger(__name__)

_INTERVAL = 3.0
_PURGE_INTERVAL_MS = 60 * 60 * 1000
_MOST_AT_ONCE = 16


class Reconciler:
    """Compares database and launcher and mends what differs."""

    def __init__(
        self,
        store: SandboxStore,
        launcher: LauncherClient,
        lifecycle: Lifecycle,
        changes: Changes,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._lifecycle = lifecycle
        self._changes = changes
        self._wanted = asyncio.Event()
        self._purged_at = 0
        self._turns = asyncio.Semaphore(_MOST_AT_ONCE)
        # Whether the launcher was there a moment ago.
        self.launcher_watched = False

    async def run(self) -> None:
        """Reconciles until cancelled."""
        while True:
            try:
                await self.reconcile()
                await self._purge()
            except WardianError as error:
                log.warning("reconciling failed, trying again", extra={"cause": error.message})
            try:
                async with asyncio.timeout(_INTERVAL):
                    await self._wanted.wait()
            except TimeoutError:
                continue
            finally:
                self._wanted.clear()

    async def follow(self) -> None:
        """Follows the launcher's events until cancelled."""
        async with (
            asyncio.TaskGroup() as endings,
            aclosing(self._launcher.watch()) as events,
        ):
            async for event in events:
                if isinstance(event, EndedEvent):
                    endings.create_task(self._take(event))
                else:
                    self._note_presence(isinstance(event, Watching))

    async def reconcile(self) -> None:
        """Compares once and mends.

        Raises:
            WardianError: launcher or database do not answer; nothing was judged.
        """
        with self._changes.observe() as touched:
            statuses = {status.sandbox: status for status in await self._launcher.list()}
            records = {record.id: record for record in await self._store.standings()}
            untouched = (statuses.keys() | records.keys()) - touched
        async with asyncio.TaskGroup() as mending:
            for sandbox in untouched:
                mending.create_task(
                    self._guarded(sandbox, statuses.get(sandbox), records.get(sandbox))
                )

    async def _guarded(
        self, sandbox: str, status: SandboxStatus | None, record: Standing | None
    ) -> None:
        async with self._turns:
            try:
                await self._mend(sandbox, status, record)
            except Exception:
                # One that can't be mended now must not keep the others from it.
                log.exception("mending failed, trying again", extra={"sandbox": sandbox})

    async def _mend(
        self, sandbox: str, status: SandboxStatus | None, record: Standing | None
    ) -> None:
        if record is None:
            log.warning("killing a sandbox without a live record", extra={"sandbox": sandbox})
            async with self._changes.of(sandbox):
                await self._launcher.kill(sandbox)
        elif record.ending is not None:
            await self._lifecycle.end_as(sandbox, record.ending)
        elif status is None:
            never_ran = record.state is State.CREATING
            reason = FAILED + "the server stopped while making it"
            await self._lifecycle.end_as(sandbox, reason if never_ran else REASON_NODE_LOST)
        elif isinstance(status.state, Ended):
            await self._lifecycle.end_as(sandbox, recorded_reason(status.state.reason))
        elif record.state is State.CREATING:
            await self._lifecycle.adopt(sandbox)
        else:
            actual = State.PAUSED if isinstance(status.state, Frozen) else State.RUNNING
            if record.state is not actual:
                await self._lifecycle.note_state(sandbox, actual)

    def _note_presence(self, there: bool) -> None:
        if there:
            log.info("launcher is there")
            # What happened while nobody watched was not told.
            self._wanted.set()
        elif self.launcher_watched:
            log.warning("launcher is gone")
        self.launcher_watched = there

    async def _take(self, event: EndedEvent) -> None:
        try:
            await self._lifecycle.ended_by_itself(event)
        except WardianError as error:
            log.warning(
                "an ended sandbox could not be recorded, the reconciler will",
                extra={"sandbox": event.sandbox, "cause": error.message},
            )
            self._wanted.set()

    async def _purge(self) -> None:
        now = now_ms()
        if now - self._purged_at > _PURGE_INTERVAL_MS:
            await self._store.purge_idempotency(now)
            self._purged_at = now
