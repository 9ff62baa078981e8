"""Making a sandbox: record, kernel and edge at once, and all of it undone if any part fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, Protocol

from wardian.server.egress.model import Egress, StoredEgress
from wardian.server.egress.policies import Policies
from wardian.server.errors import ClassUnsupported, Unavailable, WardianError
from wardian.server.node import protocol
from wardian.server.node.edge_link import EdgeLink
from wardian.server.node.launcher import (
    LauncherClient,
    LauncherFailure,
    LauncherLost,
    LauncherUnreachable,
)
from wardian.server.sandboxes import identifiers
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.expiry import Expiry
from wardian.server.sandboxes.records import (
    FAILED,
    ISOLATION_CLASSES,
    Idempotency,
    NewSandbox,
    SandboxRecord,
    Secrets,
    State,
    now_ms,
)
from wardian.server.sandboxes.routes import Routes
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.templates.model import Template

log = logging.getLogger(__name__)

# How long a repeated call waits for one that an earlier process began, in polls of 50 ms.
_POLLS = 200
_ATTEMPTS = 3


class Templates(Protocol):
    """Where templates are looked up."""

    async def get(self, name: str) -> Template:
        """The template of this name, or :class:`TemplateNotFound`."""
        ...


class Creation:
    """Makes sandboxes."""

    def __init__(
        self,
        store: SandboxStore,
        templates: Templates,
        launcher: LauncherClient,
        edge: EdgeLink,
        expiry: Expiry,
        changes: Changes,
        routes: Routes,
        policies: Policies,
    ) -> None:
        self._store = store
        self._templates = templates
        self._launcher = launcher
        self._edge = edge
        self._expiry = expiry
        self._changes = changes
        self._routes = routes
        self._policies = policies

    async def create(
        self, tenant: str, wanted: NewSandbox, idempotency: Idempotency | None = None
    ) -> SandboxRecord:
        """Makes a sandbox, or returns the one that was made under the same idempotency key.

        Raises:
            TemplateNotFound, ClassUnsupported, NameTaken, IdempotencyMismatch: nothing was made.
            PresetNotFound, SecretNotFound, SecretHost, PrivateDestination: nor then.
            NoSpace, NoCapacity, Unavailable, WardianError: the record says why it failed.
        """
        if wanted.isolation not in ISOLATION_CLASSES:
            raise ClassUnsupported(wanted.isolation, ISOLATION_CLASSES)
        for _ in range(_ATTEMPTS):
            # First of all: what it was made from may be gone by now.
            known = idempotency and await self._store.made_under(tenant, idempotency)
            if known and (earlier := await self._settled(known)):
                return earlier
            template = await self._templates.get(wanted.template)
            record = self._policies.begin(
                _draft(tenant, wanted, template),
                wanted.secret_env,
                may_reach_private=wanted.may_reach_private,
            )
            made = await self._make(record, template, idempotency)
            if isinstance(made, SandboxRecord):
                return made
            self._routes.forget(record.id)
            # The same call came in between; the next turn waits for it.
        raise Unavailable("the call this one repeats keeps failing", "use a new Idempotency-Key")

    async def _make(
        self, record: SandboxRecord, template: Template, idempotency: Idempotency | None
    ) -> SandboxRecord | str:
        request = _launch_request(record, template, self._policies.trust(record))
        async with self._changes.of(record.id):
            if record.name is not None or idempotency is not None:
                # Another sandbox may have the name or the key: know that before making one.
                try:
                    known = await self._store.insert(record, idempotency)
                except WardianError:
                    self._routes.forget(record.id)
                    raise
                if known is not None:
                    return known
                work = (self._launch(request), self._edge.introduce(self._routes.of(record)))
            else:
                # Nothing can stand in its way, so the record is written while it starts. Should
                # this process die now, the reconciler ends what has no record.
                work = (
                    self._launch(request),
                    self._edge.introduce(self._routes.of(record)),
                    self._store.insert(record),
                )
            results = await asyncio.gather(*work, return_exceptions=True)
            failures = [result for result in results if isinstance(result, BaseException)]
            if not failures:
                try:
                    return await self._run(record)
                except WardianError as error:
                    failures.append(error)
            raise await self._undo(record, failures)

    async def _run(self, record: SandboxRecord) -> SandboxRecord:
        started = now_ms()
        if not await self._store.set_running(record.id, started):
            raise WardianError(f"sandbox {record.id} has no record")
        self._expiry.schedule(record.id, record.expires_at)
        log.info("created", extra={"sandbox": record.id, "template": record.template})
        return replace(record, state=State.RUNNING, started_at=started)

    async def _launch(self, request: protocol.Create) -> None:
        try:
            await self._launcher.create(request)
        except LauncherLost:
            # The launcher died over it. The id is ours alone, so clear the ground and try again.
            await self._launcher.kill(request.sandbox)
            await self._launcher.create(request)

    async def _undo(self, record: SandboxRecord, failures: list[BaseException]) -> BaseException:
        error = failures[0]
        why = error.message if isinstance(error, WardianError) else type(error).__name__
        log.error("create failed", extra={"sandbox": record.id, "cause": why})
        undoing: list[Coroutine[Any, Any, object]] = [
            self._edge.remove(record.id),
            self._store.set_ended(record.id, FAILED + why, now_ms(), None, never_ran=True),
        ]
        if not isinstance(error, LauncherUnreachable):
            undoing.append(self._launcher.kill(record.id))
        results = await asyncio.gather(*undoing, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                # The reconciler ends it as soon as the part that failed is back.
                log.warning(
                    "undoing a create failed", extra={"sandbox": record.id, "cause": repr(result)}
                )
        self._routes.forget(record.id)
        if isinstance(error, LauncherFailure):
            return WardianError(f"sandbox could not be made: {error.message}", _advice(error))
        return error

    async def _settled(self, sandbox: str) -> SandboxRecord | None:
        # Waiting for its lock waits for a create in flight in this process.
        async with self._changes.of(sandbox):
            record = await self._store.by_id(sandbox)
        for _ in range(_POLLS):
            if record is None or (record.started_at is None and not record.live):
                return None
            if record.state is not State.CREATING:
                return record
            # Begun by a process that died: the reconciler adopts or ends it.
            await asyncio.sleep(0.05)
            record = await self._store.by_id(sandbox)
        raise Unavailable(f"sandbox {sandbox} is still being created", "repeat the call later")


def _draft(tenant: str, wanted: NewSandbox, template: Template) -> SandboxRecord:
    now = now_ms()
    return SandboxRecord(
        id=identifiers.new_sandbox_id(),
        tenant=tenant,
        name=wanted.name,
        state=State.CREATING,
        reason=None,
        template=template.name,
        isolation=wanted.isolation,
        labels=wanted.labels,
        layers=template.layers,
        limits=wanted.limits,
        user=wanted.user or template.user,
        workdir=wanted.workdir or template.workdir,
        secrets=Secrets(
            agent_token=identifiers.new_token(),
            traffic_token=identifiers.new_token() if wanted.private_traffic else None,
            env=template.env | wanted.env,
        ),
        created_at=now,
        expires_at=None if wanted.timeout is None else now + wanted.timeout * 1000,
        egress=StoredEgress(wanted.egress or Egress(), template.egress),
    )


def _launch_request(record: SandboxRecord, template: Template, trust: str) -> protocol.Create:
    limits = record.limits
    return protocol.Create(
        sandbox=record.id,
        layers=list(template.layers),
        limits=protocol.Limits(
            memory_bytes=limits.memory_bytes,
            pids=limits.pids,
            cpu_millis=limits.cpu_millis,
            disk_bytes=limits.disk_bytes,
        ),
        boot=protocol.Boot(
            sandbox=record.id,
            access_token=record.secrets.agent_token,
            hostname=record.name or record.id,
            default_user=record.user,
            default_workdir=record.workdir,
            env=record.secrets.env,
            trust=trust,
            memory_bytes=limits.memory_bytes,
            cpu_millis=limits.cpu_millis,
            disk_bytes=limits.disk_bytes,
        ),
    )


def _advice(failure: LauncherFailure) -> str | None:
    if failure.failure == "not_found":
        return "a layer of the template is gone: import or pull the template again"
    return "see the launcher's log"
