"""What the control plane says about egress and secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from ._egress import Egress
from ._egress_rules import EgressRule


class PolicyReply(msgspec.Struct, frozen=True):
    """The answer about a sandbox's policy, its rules not read yet."""

    rules: list[dict[str, Any]]
    presets: list[str]
    template: bool
    effective: list[dict[str, Any]]

    def read(self) -> EgressPolicy:
        """It, with its rules read."""
        own = {"rules": self.rules, "presets": self.presets, "template": self.template}
        return EgressPolicy(Egress.from_dict(own), tuple(map(EgressRule.from_dict, self.effective)))


class EgressPolicy(msgspec.Struct, frozen=True):
    """What a sandbox may reach.

    Attributes:
        own: What was said for this sandbox.
        effective: All rules in their order: its own, those of presets, those of its template.
    """

    own: Egress
    effective: tuple[EgressRule, ...]


class Explanation(msgspec.Struct, frozen=True):
    """What would happen to a connection or request, and why.

    Attributes:
        allowed: Whether it would be let out.
        rule: The rule that decides; None: none matches, which is a no.
        index: Its place among the effective rules, from 0.
        opened: Whether the connection's TLS would end at the edge, so that it can be read.
        resolves: Whether the name resolves inside.
        secrets: Names of the secrets that would be put in.
        handler: The handler that would be asked.
        reason: Why, for people.
    """

    allowed: bool
    reason: str = ""
    rule: str | None = None
    index: int | None = None
    opened: bool = False
    resolves: bool = False
    secrets: list[str] = []
    handler: str | None = None


class EgressEvent(msgspec.Struct, frozen=True):
    """One decision about what a sandbox wanted to reach.

    Attributes:
        time: When it began.
        kind: `name`, `connection`, `request` or `packet`.
        verdict: `allowed`; `denied`; `failed`: allowed, but it did not come about; `attempt`:
            allowed, and a placeholder went along to where it does not belong.
        host: The name that was asked for, else the address.
        port: The port.
        rule: The rule that decided; None: none matched.
        reason: Why, where it is not just that the rule says so.
        address: What was dialled in the end.
        method: Of a request.
        path: Of a request, without its query.
        status: Of the answer to a request.
        sent: Bytes from the sandbox: bodies of a request, all of a connection.
        received: Bytes to it.
        duration_ms: Milliseconds it took.
        secrets: Names of the secrets used, or of the placeholders that went astray.
        handler: The handler that was asked.
        id: Its number, higher than that of every event before it.
    """

    time: datetime
    kind: str
    verdict: str
    host: str
    port: int = 0
    rule: str | None = None
    reason: str | None = None
    address: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    sent: int = 0
    received: int = 0
    duration_ms: float = 0
    secrets: list[str] = []
    handler: str | None = None
    id: int = 0


class EgressEventPage(msgspec.Struct, frozen=True):
    """One page of events.

    Attributes:
        events: The events.
        next_cursor: Where the next page begins.
        lost: How many events of the whole node found no room on their way to the record.
    """

    events: list[EgressEvent]
    next_cursor: str | None = None
    lost: int = 0


class PresetReply(msgspec.Struct, frozen=True):
    """A preset, its rules not read yet."""

    name: str
    description: str = ""
    rules: list[dict[str, Any]] = []


class PresetList(msgspec.Struct, frozen=True):
    """All presets."""

    presets: list[PresetReply]


class EgressPreset(msgspec.Struct, frozen=True):
    """The operator's list of rules under a name."""

    name: str
    description: str
    rules: tuple[EgressRule, ...]


class SecretInfo(msgspec.Struct, frozen=True):
    """What is told of a secret: never its value.

    Attributes:
        name: Its name.
        hosts: Only rules for these may use it; None or empty: any rule.
        created_at: When it was first set.
        updated_at: When it was last set.
    """

    name: str
    hosts: list[str] | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class SecretList(msgspec.Struct, frozen=True):
    """All secrets."""

    secrets: list[SecretInfo]


class Resealed(msgspec.Struct, frozen=True):
    """How many things are now sealed under a new key."""

    secrets: int


class PlaceholderReply(msgspec.Struct, frozen=True):
    """What a sandbox holds in place of a secret."""

    placeholder: str
