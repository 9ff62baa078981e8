"""What the edge is told of a sandbox."""

from __future__ import annotations

from wardian.server.node.protocol import Route
from wardian.server.sandboxes.records import SandboxRecord, State


def route_of(record: SandboxRecord) -> Route:
    """The edge's view of a record that has not ended."""
    return Route(
        sandbox=record.id,
        state="paused" if record.state in (State.PAUSED, State.ASLEEP) else "running",
        traffic_token=record.secrets.traffic_token,
    )
