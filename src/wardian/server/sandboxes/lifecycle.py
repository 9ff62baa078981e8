"""What can be done with a sandbox once it was made, by its owner, by time and by the kernel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace

from wardian.server.egress.policies import Policies
from wardian.server.errors import SandboxEnded, SandboxNotFound
from wardian.server.node.edge_link import EdgeLink
from wardian.server.node.launcher import LauncherClient, LauncherFailure
from wardian.server.node.protocol import EndedEvent, Usage
from wardian.server.sandboxes import identifiers
from wardian.server.sandboxes.agents import Agents
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.environment import merged
from wardian.server.sandboxes.expiry import Expiry
from wardian.server.sandboxes.records import (
    REASON_EXPIRED,
    REASON_KILLED,
    SandboxRecord,
    State,
    now_ms,
    recorded_reason,
)
from wardian.server.sandboxes.routes import Routes
from wardian.server.store.pages import Filter, Page, Position
from wardian.server.store.sandboxes import SandboxStore

log = logging.getLogger(__name__)

_NOTHING_USED = Usage(0, 0, 0, 0, 0, 0)


class Unchanged:
    """Stands for a field that a change leaves as it is."""


UNCHANGED = Unchanged()


class Lifecycle:
    """Finds, changes and ends sandboxes."""

    def __init__(
        self,
        store: SandboxStore,
        launcher: LauncherClient,
        edge: EdgeLink,
        expiry: Expiry,
        changes: Changes,
        routes: Routes,
        agents: Agents,
        policies: Policies,
    ) -> None:
        self._store = store
        self._launcher = launcher
        self._edge = edge
        self._expiry = expiry
        self._changes = changes
        self._routes = routes
        self._agents = agents
        self._policies = policies

    async def restore(self) -> None:
        """Takes over what an earlier process left: policies, routes and deadlines."""
        records = await self._store.live()
        for record in records:
            self._policies.restore(record)
        self._edge.restore(
            self._routes.of(record) for record in records if record.state is not State.CREATING
        )
        for record in records:
            self._expiry.schedule(record.id, record.expires_at)

    async def get(self, tenant: str, reference: str) -> SandboxRecord:
        """A tenant's sandbox.

        Args:
            reference: its id, or the name of one that has not ended.

        Raises:
            SandboxNotFound: there is none.
        """
        is_id = identifiers.is_sandbox_id(reference)
        record = None
        if is_id or identifiers.is_name(reference):
            record = await self._store.find(
                tenant, id=reference if is_id else None, name=None if is_id else reference
            )
        if record is None:
            raise SandboxNotFound(reference)
        return record

    async def page(self, tenant: str, wanted: Filter, limit: int, after: Position | None) -> Page:
        """A tenant's sandboxes, newest first."""
        return await self._store.page(tenant, wanted, limit, after)

    async def count(self) -> dict[str, int]:
        """How many sandboxes that have not ended are in each state, of all tenants."""
        return await self._store.count()

    async def usage(self, record: SandboxRecord) -> Usage:
        """What a sandbox uses now; once ended, the last that is known."""
        if record.live:
            try:
                return await self._launcher.usage(record.id)
            except LauncherFailure as error:
                if error.failure != "not_found":
                    raise
                # Ended since the record was read.
                record = await self._store.by_id(record.id) or record
        return record.usage or _NOTHING_USED

    async def update(
        self,
        record: SandboxRecord,
        *,
        name: str | Unchanged | None = UNCHANGED,
        labels: dict[str, str] | Unchanged = UNCHANGED,
        timeout: int | Unchanged | None = UNCHANGED,
        env: dict[str, str | None] | Unchanged = UNCHANGED,
        secret_env: Mapping[str, str] | None = None,
    ) -> SandboxRecord:
        """Changes a sandbox.

        Args:
            labels: replace all it had.
            timeout: seconds from now; ``None``: it never expires.
            env: merged into what commands get; ``None`` takes a variable away.
            secret_env: variables that are to hold placeholders of the secrets named.

        Raises:
            SandboxEnded: it has ended.
            SecretNotFound: there is no secret of the name.
            NameTaken: another one has the name.
            InvalidRequest: the environment would become too large.
            SandboxPaused, Unavailable: its agent can't be told of the environment.
        """
        async with self._changes.of(record.id):
            current = await self._store.by_id(record.id)
            if current is None or not current.live:
                raise SandboxEnded(record.id)
            expires_at = current.expires_at
            if not isinstance(timeout, Unchanged):
                expires_at = None if timeout is None else now_ms() + timeout * 1000
            placed, held = self._policies.held(current, secret_env or {})
            if held:
                env = {**({} if isinstance(env, Unchanged) else env), **held}
            changed = replace(
                placed,
                name=current.name if isinstance(name, Unchanged) else name,
                labels=current.labels if isinstance(labels, Unchanged) else labels,
                expires_at=expires_at,
                secrets=placed.secrets if isinstance(env, Unchanged) else merged(placed, env),
            )
            claimed = self._policies.claim(changed) if held else None
            try:
                if not await self._store.set_details(current, changed):
                    raise SandboxEnded(record.id)
                if not isinstance(env, Unchanged):
                    await self._tell(current, changed, env)
            except BaseException:
                if claimed is not None:
                    self._policies.unclaim(record.id, claimed)
                raise
            if claimed is not None:
                await self._policies.enforce(changed)
            elif (changed.name, changed.labels) != (current.name, current.labels):
                # The edge tells handlers what a sandbox is called.
                await self._edge.put(self._routes.of(changed))
            self._expiry.schedule(record.id, changed.expires_at)
            return changed

    async def _tell(
        self, before: SandboxRecord, after: SandboxRecord, env: dict[str, str | None]
    ) -> None:
        # The record first: it refuses a taken name, and is taken back as easily.
        try:
            await self._agents.change_env(before, env)
        except BaseException:
            await self._store.set_details(after, before)
            raise

    async def kill(self, record: SandboxRecord) -> SandboxRecord:
        """Ends a sandbox for its owner; ending an ended one changes nothing."""
        async with self._changes.of(record.id):
            return await self._end(record.id, REASON_KILLED) or record

    async def expire(self, sandbox: str) -> None:
        """Ends a sandbox whose time is up, unless it was given more meanwhile."""
        async with self._changes.of(sandbox):
            record = await self._store.by_id(sandbox)
            if record is None or not record.live or record.expires_at is None:
                return
            if record.expires_at > now_ms():
                self._expiry.schedule(sandbox, record.expires_at)
                return
            await self._end(sandbox, REASON_EXPIRED)

    async def ended_by_itself(self, event: EndedEvent) -> None:
        """Records what the launcher saw, and has the remains removed."""
        async with self._changes.of(event.sandbox):
            await self._end(event.sandbox, recorded_reason(event.reason), event.usage)

    async def end_as(self, sandbox: str, reason: str) -> None:
        """Ends one that was found lost or half ended; a reason noted earlier wins."""
        async with self._changes.of(sandbox):
            await self._end(sandbox, reason)

    async def adopt(self, sandbox: str) -> None:
        """Notes that one whose creation was cut off does run."""
        async with self._changes.of(sandbox):
            if not await self._store.set_running(sandbox, now_ms()):
                return
            record = await self._store.by_id(sandbox)
            if record is not None:
                await self._policies.enforce(record)
                log.info("adopted", extra={"sandbox": sandbox})

    async def note_state(self, sandbox: str, state: State) -> None:
        """Notes that the kernel has it frozen or running, other than recorded."""
        async with self._changes.of(sandbox):
            if await self._store.set_state(sandbox, state):
                record = await self._store.by_id(sandbox)
                if record is not None:
                    await self._edge.put(self._routes.of(record))

    async def _end(
        self, sandbox: str, reason: str, usage: Usage | None = None
    ) -> SandboxRecord | None:
        # The intent is written first: if this process dies now, the next one finishes it under
        # the same reason.
        record = await self._store.begin_ending(sandbox, reason)
        if record is None or not record.live:
            return record
        reason = record.ending or reason
        never_ran = record.started_at is None
        _, killed = await asyncio.gather(self._edge.remove(sandbox), self._launcher.kill(sandbox))
        self._routes.forget(sandbox)
        usage = killed.usage or usage
        moment = now_ms()
        await self._store.set_ended(sandbox, reason, moment, usage, never_ran=never_ran)
        self._expiry.schedule(sandbox, None)
        log.info("ended", extra={"sandbox": sandbox, "reason": reason})
        return replace(
            record, state=State.ENDED, reason=reason, ended_at=moment, usage=usage, ending=None
        )
