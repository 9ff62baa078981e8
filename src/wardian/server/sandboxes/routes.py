"""What the edge is told of a sandbox."""

from __future__ import annotations

from collections.abc import Iterable

from wardian.server.egress.compile import Compiled
from wardian.server.exposures.model import Exposure
from wardian.server.node import edge_messages
from wardian.server.node.edge_messages import Route
from wardian.server.node.egress_messages import Policy
from wardian.server.sandboxes.records import SandboxRecord, State

_NOTHING = Compiled(Policy())


class Routes:
    """Makes routes of records, what is exposed of their sandboxes and what these may reach."""

    def __init__(self) -> None:
        self._exposures: dict[str, list[edge_messages.Exposure]] = {}
        self._policies: dict[str, Compiled] = {}

    def set_exposures(self, sandbox: str, exposures: Iterable[Exposure]) -> None:
        """Notes all that is exposed of a sandbox."""
        rules = [exposure.rule() for exposure in exposures]
        if rules:
            self._exposures[sandbox] = rules
        else:
            self._exposures.pop(sandbox, None)

    def set_policy(self, sandbox: str, policy: Compiled) -> None:
        """Notes what a sandbox may reach."""
        if policy == _NOTHING:
            self._policies.pop(sandbox, None)
        else:
            self._policies[sandbox] = policy

    def policy(self, sandbox: str) -> Compiled:
        """What a sandbox may reach."""
        return self._policies.get(sandbox, _NOTHING)

    def users(self, secret: str) -> list[str]:
        """Sandboxes, of whichever tenant, that use a secret of this name."""
        return [sandbox for sandbox, each in self._policies.items() if secret in each.secrets]

    def forget(self, sandbox: str) -> None:
        """Nothing of it is exposed and nothing passes any more: it has ended."""
        self._exposures.pop(sandbox, None)
        self._policies.pop(sandbox, None)

    def of(self, record: SandboxRecord) -> Route:
        """The edge's view of a record that has not ended."""
        return Route(
            sandbox=record.id,
            state="paused" if record.state in (State.PAUSED, State.ASLEEP) else "running",
            traffic_token=record.secrets.traffic_token,
            exposures=self._exposures.get(record.id, []),
            egress=self.policy(record.id).policy,
            facts=edge_messages.Facts(record.name, record.tenant, record.labels),
        )
