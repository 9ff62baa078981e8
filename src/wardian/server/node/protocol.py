"""Frames, and the launcher's messages in them, as in ``docs/node-protocols.md``; those of the edge
are in ``edge_messages.py``.

The other writing of the same messages is ``crates/wire``; ``tests/vectors/*.json`` holds examples
that both test suites read. A frame is a 4-byte big-endian length and that many bytes of JSON.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

LAUNCHER_VERSION = 1
AGENT_PORT = 49983
SANDBOX_ADDRESS = "10.0.0.2"
MAX_BODY = 16 * 1024 * 1024
HEADER = 4

# `$` alone would also match before a final line feed.
SandboxId = Annotated[str, Meta(pattern=r"^[a-z2-7]{20}$(?!\n)")]
LayerId = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
U64 = Annotated[int, Meta(ge=0)]


class FrameTooLong(ValueError):
    """A frame promises or holds more than ``MAX_BODY`` bytes."""


def encode_frame(message: Struct) -> bytes:
    """Writes ``message`` as one frame.

    Raises:
        FrameTooLong: its JSON is longer than ``MAX_BODY`` bytes.
    """
    body = msgspec.json.encode(message)
    if len(body) > MAX_BODY:
        raise FrameTooLong(f"frame of {len(body)} bytes is longer than {MAX_BODY}")
    return len(body).to_bytes(HEADER, "big") + body


def body_length(header: bytes) -> int:
    """Reads a frame's length prefix.

    Raises:
        FrameTooLong: it promises more than ``MAX_BODY`` bytes.
    """
    length = int.from_bytes(header, "big")
    if length > MAX_BODY:
        raise FrameTooLong(f"frame of {length} bytes is longer than {MAX_BODY}")
    return length


class _Message(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Boot(_Message, frozen=True):
    """What the launcher gives the agent at birth."""

    sandbox: SandboxId
    access_token: str | None
    hostname: str
    default_user: str
    default_workdir: str | None
    env: dict[str, str]
    trust: str
    memory_bytes: U64
    cpu_millis: U32
    disk_bytes: U64


class Limits(_Message, frozen=True):
    """What a sandbox may use; ``io_bytes_per_second`` ``None``: no limit."""

    memory_bytes: U64
    pids: U32
    cpu_millis: U32
    disk_bytes: U64
    io_bytes_per_second: U64 | None = None


class _Request(Struct, frozen=True, forbid_unknown_fields=True, tag_field="op"):
    pass


class Hello(_Request, frozen=True, tag="hello"):
    version: U32 = LAUNCHER_VERSION


class Create(_Request, frozen=True, tag="create"):
    """Make a sandbox; ``layers`` topmost first."""

    sandbox: SandboxId
    layers: list[LayerId]
    limits: Limits
    boot: Boot


class Kill(_Request, frozen=True, tag="kill"):
    sandbox: SandboxId


class List(_Request, frozen=True, tag="list"):
    pass


class GetUsage(_Request, frozen=True, tag="usage"):
    sandbox: SandboxId


class Freeze(_Request, frozen=True, tag="freeze"):
    sandbox: SandboxId


class Thaw(_Request, frozen=True, tag="thaw"):
    sandbox: SandboxId


class OpenSockets(_Request, frozen=True, tag="open_sockets"):
    sandbox: SandboxId
    count: U32


class OpenInnerSockets(_Request, frozen=True, tag="open_inner_sockets"):
    """Sockets in the sandbox's own network, where its loopback is."""

    sandbox: SandboxId
    family: Literal["ipv4", "ipv6"]
    count: U32


class OpenOutbound(_Request, frozen=True, tag="open_outbound"):
    """The sockets through which everything leaves the sandbox; for the edge."""

    sandbox: SandboxId


class ImportLayer(_Request, frozen=True, tag="import_layer"):
    layer: LayerId


class RemoveLayer(_Request, frozen=True, tag="remove_layer"):
    layer: LayerId


class ListLayers(_Request, frozen=True, tag="list_layers"):
    pass


class Watch(_Request, frozen=True, tag="watch"):
    pass


Request = (
    Hello
    | Create
    | Kill
    | List
    | GetUsage
    | Freeze
    | Thaw
    | OpenSockets
    | OpenInnerSockets
    | OpenOutbound
    | ImportLayer
    | RemoveLayer
    | ListLayers
    | Watch
)

EndReason = Literal["out_of_memory", "agent_exited", "node_restarted"]


class Usage(Struct, frozen=True):
    """What a sandbox uses; ``cpu_usec`` since it was made."""

    cpu_usec: U64
    memory_bytes: U64
    memory_peak_bytes: U64
    pids: U32
    disk_bytes: U64
    oom_kills: U64


class Running(Struct, frozen=True, tag_field="is", tag="running"):
    pass


class Frozen(Struct, frozen=True, tag_field="is", tag="frozen"):
    pass


class Ended(Struct, frozen=True, tag_field="is", tag="ended"):
    """Its agent is gone; the disk is kept until it is killed."""

    reason: EndReason


class SandboxStatus(Struct, frozen=True):
    """One sandbox as the kernel has it; ``pid`` 0 once ended."""

    sandbox: SandboxId
    state: Running | Frozen | Ended
    pid: U32


class _Value(Struct, frozen=True, tag_field="kind"):
    pass


class HelloValue(_Value, frozen=True, tag="hello"):
    """What this launcher and its machine can do."""

    version: U32
    cgroups: str
    storage: str
    disk_limits: bool
    pool_bytes_total: U64
    pool_bytes_free: U64


class CreatedValue(_Value, frozen=True, tag="created"):
    pid: U32


class KilledValue(_Value, frozen=True, tag="killed"):
    existed: bool
    usage: Usage | None


class SandboxesValue(_Value, frozen=True, tag="sandboxes"):
    sandboxes: list[SandboxStatus]


class UsageValue(_Value, frozen=True, tag="usage"):
    cpu_usec: U64
    memory_bytes: U64
    memory_peak_bytes: U64
    pids: U32
    disk_bytes: U64
    oom_kills: U64

    def usage(self) -> Usage:
        """The same without the tag."""
        return msgspec.convert(msgspec.structs.asdict(self), Usage)


class SocketsValue(_Value, frozen=True, tag="sockets"):
    count: U32


class LayerValue(_Value, frozen=True, tag="layer"):
    layer: LayerId
    bytes: U64
    files: U64
    existed: bool


class LayersValue(_Value, frozen=True, tag="layers"):
    layers: list[LayerId]


class DoneValue(_Value, frozen=True, tag="done"):
    pass


Value = (
    HelloValue
    | CreatedValue
    | KilledValue
    | SandboxesValue
    | UsageValue
    | SocketsValue
    | LayerValue
    | LayersValue
    | DoneValue
)

FailureCode = Literal[
    "invalid_request",
    "denied",
    "not_found",
    "already_exists",
    "in_use",
    "no_space",
    "no_capacity",
    "bad_layer",
    "kernel",
]


class Failure(Struct, frozen=True):
    """A request that failed; nothing has changed."""

    code: FailureCode
    message: str


class Reply(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The launcher's answer: exactly one of the two."""

    ok: Value | None = None
    error: Failure | None = None

    def __post_init__(self) -> None:
        if (self.ok is None) == (self.error is None):
            raise ValueError("a reply is either ok or error")


class EndedEvent(Struct, frozen=True, tag_field="event", tag="ended"):
    """A sandbox ended by itself."""

    sandbox: SandboxId
    reason: EndReason
    usage: Usage


# One decoder per direction, made once: msgspec compiles the type.
decode_request: Any = msgspec.json.Decoder(Request).decode
decode_reply = msgspec.json.Decoder(Reply).decode
decode_event = msgspec.json.Decoder(EndedEvent).decode
