"""The policies of sandboxes: changed, kept, and in force at the edge when a change returns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from wardian.server.egress import compile, placeholders
from wardian.server.egress.compile import Compiled
from wardian.server.egress.grants import refuse_private
from wardian.server.egress.model import EffectiveRule, Egress, StoredEgress
from wardian.server.egress.presets import Presets
from wardian.server.errors import SandboxEnded, WardianError
from wardian.server.node.edge_link import EdgeLink
from wardian.server.node.egress_messages import Policy
from wardian.server.sandboxes import environment
from wardian.server.sandboxes.agents import Agents
from wardian.server.sandboxes.changes import Changes
from wardian.server.sandboxes.records import SandboxRecord
from wardian.server.sandboxes.routes import Routes
from wardian.server.secrets.vault import Vault
from wardian.server.store.sandboxes import SandboxStore

log = logging.getLogger(__name__)

Change = Callable[[Egress], Egress]


class Policies:
    """What sandboxes may reach.

    Args:
        trust: PEM of what a sandbox must trust once anything may pass.
    """

    def __init__(
        self,
        store: SandboxStore,
        vault: Vault,
        presets: Presets,
        routes: Routes,
        edge: EdgeLink,
        changes: Changes,
        agents: Agents,
        trust: str,
    ) -> None:
        self.presets = presets
        self._store = store
        self._vault = vault
        self._routes = routes
        self._edge = edge
        self._changes = changes
        self._agents = agents
        self._trust = trust

    def restore(self, record: SandboxRecord) -> None:
        """Puts in force what the record says; what can't be made of it lets nothing out."""
        try:
            policy = self._compiled(record)
        except WardianError as error:
            log.error(
                "egress rules can't be put in force, nothing passes",
                extra={"sandbox": record.id, "cause": error.message},
            )
            policy = Compiled(Policy())
        self._routes.set_policy(record.id, policy)

    def begin(
        self, record: SandboxRecord, secret_env: Mapping[str, str], *, may_reach_private: bool
    ) -> SandboxRecord:
        """Puts the policy of a sandbox that is being made in force, as soon as it has a route.

        Args:
            record: with what was asked for it and its template's.
            secret_env: variables that hold placeholders, and the secrets these stand for.
            may_reach_private: whether its own rules may grant what is not public.

        Returns:
            The record with placeholders and all variables.

        Raises:
            PresetNotFound, SecretNotFound, SecretHost, PrivateDestination, InvalidRequest: nothing
                was done.
        """
        if not may_reach_private:
            refuse_private(record.egress.own.rules)
        record = self._settled(record)
        record, held = self.held(record, secret_env)
        given = self._env_of(compile.presets_of(record.egress))
        env = given | record.secrets.env | held
        record = replace(record, secrets=environment.with_env(record.secrets, env))
        self._routes.set_policy(record.id, self._compiled(record))
        return record

    def trust(self, record: SandboxRecord) -> str:
        """PEM of what a new sandbox must trust; empty where nothing may pass."""
        return self._trust if compile.lets_out(self.effective(record)) else ""

    def effective(self, record: SandboxRecord) -> list[EffectiveRule]:
        """The rules of a sandbox in the order in which they are asked."""
        return compile.effective(record.egress, self.presets)

    def held(
        self, record: SandboxRecord, secret_env: Mapping[str, str]
    ) -> tuple[SandboxRecord, dict[str, str]]:
        """The record with placeholders for the secrets named, and these by variable.

        Raises:
            SecretNotFound: there is none of the name.
        """
        names = secret_env.values()
        record = placeholders.added(record, names, self._vault.of(record.tenant))
        texts = record.secrets.placeholders
        return record, {variable: texts[name] for variable, name in secret_env.items()}

    async def change(
        self, record: SandboxRecord, wanted: Change, *, may_reach_private: bool
    ) -> SandboxRecord:
        """Changes a sandbox's own part of its policy.

        Args:
            record: of the sandbox.
            wanted: makes the new part of the present one.
            may_reach_private: whether the result may grant what is not public.

        Raises:
            SandboxEnded: it has ended.
            SandboxPaused, Unavailable: its agent must be told of something and can't be.
            PresetNotFound, SecretNotFound, SecretHost, PrivateDestination, InvalidRequest: nothing
                has changed.
        """
        async with self._changes.of(record.id):
            current = await self.live(record.id)
            own = wanted(current.egress.own)
            if not may_reach_private:
                refuse_private(own.rules)
            egress = replace_own(current.egress, own)
            changed = self._settled(replace(current, egress=egress))
            before = compile.presets_of(current.egress)
            env = self._env_of(name for name in compile.presets_of(egress) if name not in before)
            fresh = {name: env[name] for name in env if name not in current.secrets.env}
            if fresh:
                changed = replace(changed, secrets=environment.merged(changed, fresh))
            await self._put(current, changed, fresh)
            return changed

    async def placeholder(self, record: SandboxRecord, secret: str) -> str:
        """What the sandbox holds in place of a secret.

        Raises:
            SandboxEnded: it has ended.
            SecretNotFound: there is none of the name.
        """
        async with self._changes.of(record.id):
            current = await self.live(record.id)
            changed = placeholders.added(current, [secret], self._vault.of(current.tenant))
            if changed is not current:
                await self._put(current, changed, {})
            return changed.secrets.placeholders[secret]

    def trial(self, record: SandboxRecord, own: Egress | None) -> Policy:
        """The policy as it is, or as it would be with another own part; puts nothing in force."""
        if own is not None:
            record = replace(record, egress=replace_own(record.egress, own))
        return self._compiled(self._settled(record)).policy

    async def refresh(self, sandbox: str, tenant: str) -> None:
        """Puts in force anew what a sandbox of the tenant may reach: a secret has changed."""
        async with self._changes.of(sandbox):
            record = await self._store.by_id(sandbox)
            if record is None or not record.live:
                # It was never made, or ended in between.
                self._routes.forget(sandbox)
            elif record.tenant == tenant:
                self.restore(record)
                await self._edge.put(self._routes.of(record))

    async def live(self, sandbox: str) -> SandboxRecord:
        """A record, whose lock is held.

        Raises:
            SandboxEnded: it has ended.
        """
        record = await self._store.by_id(sandbox)
        if record is None or not record.live or record.ending is not None:
            raise SandboxEnded(sandbox)
        return record

    def claim(self, changed: SandboxRecord) -> Compiled:
        """Checks what a record is to become and notes which secrets it will use, so that none of
        them can go meanwhile; returns what was noted before, to take it back.
        """
        before = self._routes.policy(changed.id)
        uses = before.secrets | self._compiled(changed).secrets
        self._routes.set_policy(changed.id, Compiled(before.policy, uses))
        return before

    def unclaim(self, sandbox: str, before: Compiled) -> None:
        """Takes back what :meth:`claim` noted."""
        self._routes.set_policy(sandbox, before)

    async def enforce(self, changed: SandboxRecord) -> None:
        """Puts in force what a record that was claimed and stored says."""
        # Of what the secrets are now: one may have changed while the record was being written.
        self.restore(changed)
        await self._edge.put(self._routes.of(changed))

    async def _put(
        self, current: SandboxRecord, changed: SandboxRecord, fresh: dict[str, str]
    ) -> None:
        opened = compile.lets_out(self.effective(changed))
        before = self.claim(changed)
        try:
            if opened and not compile.lets_out(self.effective(current)):
                await self._agents.trust(current, self._trust)
            if fresh:
                await self._agents.change_env(current, fresh)
            if not await self._store.set_egress(changed):
                raise SandboxEnded(changed.id)
        except BaseException:
            self.unclaim(current.id, before)
            raise
        await self.enforce(changed)
        log.info("egress changed", extra={"sandbox": changed.id})

    def _settled(self, record: SandboxRecord) -> SandboxRecord:
        # A rule that substitutes needs a placeholder, which is made when the first such rule comes.
        names = [name for rule in self.effective(record) for name in rule.substitute]
        return placeholders.added(record, names, self._vault.of(record.tenant))

    def _compiled(self, record: SandboxRecord) -> Compiled:
        return compile.compiled(
            self.effective(record), self._vault.of(record.tenant), record.secrets.placeholders
        )

    def _env_of(self, presets: Iterable[str]) -> dict[str, str]:
        env: dict[str, str] = {}
        for name in presets:
            env |= self.presets.get(name).env
        return env


def replace_own(egress: StoredEgress, own: Egress) -> StoredEgress:
    """The same with another own part."""
    return StoredEgress(own, egress.template)
