"""What the edge is told of a sandbox."""

from __future__ import annotations

from collections.abc import Iterable

from wardian.server.exposures.model import Exposure
from wardian.server.node import protocol
from wardian.server.node.protocol import Route
from wardian.server.sandboxes.records import SandboxRecord, State


class Routes:
    """Makes routes of records and what is exposed of their sandboxes."""

    def __init__(self) -> None:
        self._exposures: dict[str, list[protocol.Exposure]] = {}

    def set_exposures(self, sandbox: str, exposures: Iterable[Exposure]) -> None:
        """Notes all that is exposed of a sandbox."""
        rules = [exposure.rule() for exposure in exposures]
        if rules:
            self._exposures[sandbox] = rules
        else:
            self._exposures.pop(sandbox, None)

    def forget(self, sandbox: str) -> None:
        """Nothing of it is exposed any more: it has ended."""
        self._exposures.pop(sandbox, None)

    def of(self, record: SandboxRecord) -> Route:
        """The edge's view of a record that has not ended."""
        return Route(
            sandbox=record.id,
            state="paused" if record.state in (State.PAUSED, State.ASLEEP) else "running",
            traffic_token=record.secrets.traffic_token,
            exposures=self._exposures.get(record.id, []),
        )
