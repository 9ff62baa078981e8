"""Setting and deleting secrets. A change is in force wherever it is used when its call returns."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from wardian.server.egress import compile
from wardian.server.egress.policies import Policies
from wardian.server.errors import SecretInUse, SecretNotFound, TooManySecrets, WardianError
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.records import SandboxRecord, now_ms
from wardian.server.sandboxes.routes import Routes
from wardian.server.secrets.model import MOST_PER_TENANT, Secret
from wardian.server.secrets.vault import Vault
from wardian.server.store.sandboxes import SandboxStore
from wardian.server.store.secrets import SecretStore

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 16


class Secrets:
    """The secrets of all tenants."""

    def __init__(
        self,
        store: SecretStore,
        sandboxes: SandboxStore,
        vault: Vault,
        changes: Changes,
        routes: Routes,
        policies: Policies,
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._vault = vault
        self._changes = changes
        self._routes = routes
        self._policies = policies
        # One change at a time: what is looked at before it must still hold when it is made.
        self._changing = asyncio.Lock()

    def list(self, tenant: str) -> list[Secret]:
        """A tenant's secrets, by name."""
        known = self._vault.of(tenant)
        return [known[name] for name in sorted(known)]

    async def put(
        self, tenant: str, name: str, value: str, hosts: tuple[str, ...]
    ) -> tuple[Secret, bool]:
        """Sets a secret and says whether it is new.

        Raises:
            SecretHost: a live sandbox's rule sends it to a host it would not be for.
            TooManySecrets: there are as many as there may be.
        """
        async with self._changing:
            new = name not in self._vault.of(tenant)
            if new and len(self._vault.of(tenant)) >= MOST_PER_TENANT:
                raise TooManySecrets(MOST_PER_TENANT)
            now = now_ms()
            wanted = Secret(tenant, name, value, hosts, now, now)
            for record in await self._users(tenant, name):
                for rule in self._policies.effective(record):
                    if name in rule.secrets():
                        compile.check_hosts(rule, wanted)

            def decide(there: dict[str, Secret]) -> Secret:
                created_at = there[name].created_at if name in there else now
                return Secret(tenant, name, value, hosts, created_at, now)

            made = await self._store.put(tenant, decide)
            self._vault.put(made)
            await self._refresh(self._routes.users(name), tenant)
        log.info("secret set", extra={"tenant": tenant, "secret": name})
        return made, new

    async def delete(self, tenant: str, name: str) -> None:
        """Deletes a secret.

        Raises:
            SecretNotFound: there is none.
            SecretInUse: a live sandbox uses it.
        """
        async with self._changing:
            if name not in self._vault.of(tenant):
                raise SecretNotFound(name)
            users = await self._users(tenant, name)
            if users:
                raise SecretInUse(name, users[0].name or users[0].id)
            removed = self._vault.remove(tenant, name)
            try:
                # Whoever came to use it while we looked: from here on nobody new does.
                users = await self._users(tenant, name)
                if users:
                    raise SecretInUse(name, users[0].name or users[0].id)
                await self._store.delete(tenant, name)
            except BaseException:
                if removed is not None:
                    self._vault.put(removed)
                raise
        log.info("secret deleted", extra={"tenant": tenant, "secret": name})

    async def _users(self, tenant: str, name: str) -> list[SandboxRecord]:
        found: list[SandboxRecord] = []
        for sandbox in self._routes.users(name):
            # One that is being made has its record when it lets go of the lock.
            async with self._changes.of(sandbox):
                record = await self._sandboxes.by_id(sandbox)
            if record is not None and record.live and record.tenant == tenant:
                found.append(record)
        return found

    async def _refresh(self, sandboxes: Iterable[str], tenant: str) -> None:
        turns = asyncio.Semaphore(_MOST_AT_ONCE)
        failures: list[WardianError] = []

        async def refresh(sandbox: str) -> None:
            async with turns:
                try:
                    await self._policies.refresh(sandbox, tenant)
                except WardianError as error:
                    failures.append(error)

        async with asyncio.TaskGroup() as refreshing:
            for sandbox in sandboxes:
                refreshing.create_task(refresh(sandbox))
        if failures:
            raise failures[0]
