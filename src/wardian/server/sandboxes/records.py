"""What is recorded of a sandbox. All times are milliseconds since the epoch, UTC."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import StrEnum

from wardian.server.egress.model import Egress, StoredEgress
from wardian.server.node.protocol import EndReason, Usage

ISOLATION_CLASSES = ("container",)
MEBIBYTE = 1024 * 1024

REASON_KILLED = "killed"
REASON_EXPIRED = "expired"
REASON_NODE_LOST = "node lost"
FAILED = "failed: "


class State(StrEnum):
    """Where a sandbox is in its life."""

    CREATING = "creating"
    RUNNING = "running"
    PAUSED = "paused"
    ASLEEP = "asleep"
    ENDED = "ended"


LIVE_STATES = frozenset(State) - {State.ENDED}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a sandbox may use: thousandths of a CPU, bytes, bytes, processes and threads."""

    cpu_millis: int = 2000
    memory_bytes: int = 2048 * MEBIBYTE
    disk_bytes: int = 10240 * MEBIBYTE
    pids: int = 1024


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is kept encrypted; never in a log or an error.

    Args:
        placeholders: what the sandbox holds in place of secrets, by the names of these.
    """

    agent_token: str = field(repr=False)
    traffic_token: str | None = field(repr=False)
    env: dict[str, str] = field(repr=False)
    placeholders: dict[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class SandboxRecord:
    """One sandbox.

    Args:
        isolation: its isolation class (the API calls it ``class``).
        layers: template layers, topmost first.
        ending: why it is being ended, once that is decided and until it is done.
        usage: last known.
    """

    id: str
    tenant: str
    name: str | None
    state: State
    reason: str | None
    template: str
    isolation: str
    labels: dict[str, str]
    layers: tuple[str, ...]
    limits: Limits
    user: str
    workdir: str | None
    secrets: Secrets
    created_at: int
    started_at: int | None = None
    expires_at: int | None = None
    ended_at: int | None = None
    ending: str | None = None
    usage: Usage | None = None
    egress: StoredEgress = field(default_factory=StoredEgress)

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.state is not State.ENDED


@dataclass(frozen=True, slots=True)
class Standing:
    """As much of a record as is compared with the kernel: cheap to read for all at once."""

    id: str
    state: State
    ending: str | None


@dataclass(frozen=True, slots=True)
class NewSandbox:
    """What a caller wants.

    Args:
        timeout: seconds; ``None``: never expires.
        secret_env: variables that hold a placeholder, and the secrets these stand for.
        egress: ``None``: what the template grants.
        may_reach_private: whether its rules may grant what is not public.
    """

    template: str = "base"
    name: str | None = None
    isolation: str = "container"
    timeout: int | None = 300
    env: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    labels: dict[str, str] = field(default_factory=dict[str, str])
    user: str | None = None
    workdir: str | None = None
    limits: Limits = field(default_factory=Limits)
    private_traffic: bool = False
    secret_env: dict[str, str] = field(default_factory=dict[str, str])
    egress: Egress | None = None
    may_reach_private: bool = False


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A caller's key and the digest of what was asked under it."""

    key: str
    digest: str


_END_REASONS: dict[EndReason, str] = {
    "out_of_memory": "out of memory",
    "agent_exited": FAILED + "the agent exited",
    "node_restarted": REASON_NODE_LOST,
}


def recorded_reason(reason: EndReason) -> str:
    """The launcher's reason in the words of the record."""
    return _END_REASONS[reason]


def now_ms() -> int:
    """The time as records keep it."""
    return time.time_ns() // 1_000_000
