"""The messages between control plane and edge, as in ``docs/node-protocols.md``; the policies in
them are in ``egress_messages.py``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from wardian.server.node import egress_messages as egress
from wardian.server.node.protocol import U32, U64, SandboxId

EDGE_VERSION = 1


class _Message(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Exposure(_Message, frozen=True):
    """A port with an address of its own; ``secret`` signs tickets and cookies."""

    port: Annotated[int, Meta(ge=0, le=65535)]
    token: str
    visibility: Literal["public", "private"]
    host_header: Literal["preserve", "localhost"]
    secret: str


class Facts(_Message, frozen=True):
    """What people call a sandbox; handlers are told."""

    name: str | None = None
    tenant: str | None = None
    labels: dict[str, str] = {}


class Route(_Message, frozen=True):
    """What the edge knows of one sandbox."""

    sandbox: SandboxId
    state: Literal["running", "paused"]
    traffic_token: str | None
    exposures: list[Exposure]
    egress: egress.Policy = egress.Policy()
    facts: Facts = Facts()


class _ToEdge(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Sync(_ToEdge, frozen=True, tag="sync"):
    """All that exists."""

    seq: U64
    sandboxes: list[Route]
    egress: egress.Settings


class Put(_ToEdge, frozen=True, tag="put"):
    seq: U64
    sandbox: Route


class Remove(_ToEdge, frozen=True, tag="remove"):
    seq: U64
    sandbox: SandboxId


class Explain(_ToEdge, frozen=True, tag="explain"):
    """What would this policy say? Changes nothing."""

    seq: U64
    policy: egress.Policy
    question: egress.Question


ToEdge = Sync | Put | Remove | Explain


class _FromEdge(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class EdgeHello(_FromEdge, frozen=True, tag="hello"):
    version: U32


class Ack(_FromEdge, frozen=True, tag="ack"):
    """The change with this number is in force."""

    seq: U64


class Explained(_FromEdge, frozen=True, tag="explained"):
    """The answer to the question with this number."""

    seq: U64
    explanation: egress.Explanation


class EgressReport(_FromEdge, frozen=True, tag="egress"):
    """What happened on the way out since the last report; ``lost`` events found no room."""

    events: list[egress.Event]
    lost: U64
    traffic: list[egress.Traffic]


FromEdge = EdgeHello | Ack | Explained | EgressReport

# One decoder per direction, made once: msgspec compiles the type.
decode_to_edge: Any = msgspec.json.Decoder(ToEdge).decode
decode_from_edge: Any = msgspec.json.Decoder(FromEdge).decode
