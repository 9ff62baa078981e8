"""What travels in the native API: requests, checked field by field, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from wardian.server.egress.model import Egress, PresetName, SecretName
from wardian.server.keys.model import Scope
from wardian.server.sandboxes import environment
from wardian.server.sandboxes.identifiers import NAME_PATTERN, is_sandbox_id

_MOST_LABEL_BYTES = 255

# `$` alone would also match before a final line feed.
Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="Unique among those not ended.")]
LabelKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._/-]{1,63}$(?!\n)")]
Labels = Annotated[dict[LabelKey, str], Meta(max_length=64)]
EnvName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,255}$(?!\n)")]


class SecretReference(Struct, frozen=True, forbid_unknown_fields=True):
    """Stands for a secret: the sandbox holds a placeholder, the edge puts the value there."""

    secret: SecretName


Env = Annotated[dict[EnvName, str | SecretReference], Meta(max_length=environment.MOST_NAMES)]
Timeout = Annotated[int, Meta(ge=1, le=604800, description="Seconds from now.")]
User = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$(?!\n)")]
Directory = Annotated[str, Meta(pattern=r"^/[^\x00\r\n]{0,4095}$(?!\n)")]
TemplateName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$(?!\n)")]
State = Literal["creating", "running", "paused", "asleep", "ended"]


def check_name(name: str | UnsetType | None) -> None:
    """Refuses a name that could be taken for an id."""
    if isinstance(name, str) and is_sandbox_id(name):
        raise ValueError("name must not have the form of a sandbox id")


def check_labels(labels: dict[str, str] | UnsetType) -> None:
    """Refuses values that are too long or can't be stored."""
    if isinstance(labels, UnsetType):
        return
    for key, value in labels.items():
        if len(value.encode()) > _MOST_LABEL_BYTES:
            raise ValueError(f"labels: value of {key!r} is longer than {_MOST_LABEL_BYTES} bytes")
        if "\0" in value:
            raise ValueError(f"labels: value of {key!r} holds a NUL character")


def plain_values(env: Mapping[str, str | SecretReference | None]) -> dict[str, str]:
    """The variables that are given as they are."""
    return {name: value for name, value in env.items() if isinstance(value, str)}


def secret_values(env: Mapping[str, str | SecretReference | None]) -> dict[str, str]:
    """The secrets that variables stand for, by variable."""
    return {name: value.secret for name, value in env.items() if isinstance(value, SecretReference)}


def check_env(env: dict[str, str]) -> None:
    """Refuses what can't be an environment."""
    for key, value in env.items():
        if "\0" in value:
            raise ValueError(f"env: value of {key!r} holds a NUL character")
    if (total := environment.size(env)) > environment.MOST_BYTES:
        raise ValueError(
            f"env: {total} bytes in all, at most {environment.MOST_BYTES} are possible"
        )


class WantedLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new sandbox may use; what is not said has a default."""

    cpu: Annotated[float, Meta(ge=0.01, le=1024, description="CPUs.")] = 2
    memory_mb: Annotated[int, Meta(ge=16, le=16 * 1024 * 1024, description="MiB.")] = 2048
    disk_mb: Annotated[int, Meta(ge=1, le=64 * 1024 * 1024, description="MiB.")] = 10240
    pids: Annotated[int, Meta(ge=8, le=4194304, description="Processes and threads.")] = 1024


class CreateSandbox(Struct, frozen=True, forbid_unknown_fields=True):
    """A sandbox to make."""

    template: Annotated[str, Meta(min_length=1, max_length=255)] = "base"
    name: Name | None = None
    isolation: Annotated[str, Meta(min_length=1, max_length=63)] = field(
        name="class", default="container"
    )
    timeout: Timeout | None = 300
    env: Env = field(default_factory=dict[str, str | SecretReference])
    labels: Labels = field(default_factory=dict[str, str])
    user: User | None = None
    workdir: Directory | None = None
    limits: WantedLimits = field(default_factory=WantedLimits)
    traffic: Literal["public", "private"] = "public"
    egress: (
        Annotated[PresetName | Egress, Meta(description="off, on, a preset's name, or rules.")]
        | None
    ) = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_labels(self.labels)
        check_env(plain_values(self.env))


EnvChanges = Annotated[
    dict[EnvName, str | SecretReference | None],
    Meta(
        max_length=environment.MOST_NAMES,
        description="Merged into what is there; null takes a variable away.",
    ),
]


class UpdateSandbox(Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is not said stays."""

    labels: Labels | UnsetType = UNSET
    timeout: Timeout | UnsetType | None = UNSET
    name: Name | UnsetType | None = UNSET
    env: EnvChanges | UnsetType = UNSET

    def __post_init__(self) -> None:
        check_name(self.name)
        check_labels(self.labels)
        if not isinstance(self.env, UnsetType):
            check_env(plain_values(self.env))


class ListSandboxes(Struct, frozen=True, forbid_unknown_fields=True):
    """Which sandboxes; by default all that have not ended."""

    state: list[State] = field(default_factory=list[State])
    label: Annotated[list[Annotated[str, Meta(description="key=value")]], Meta(max_length=64)] = (
        field(default_factory=list[str])
    )
    template: Annotated[str, Meta(max_length=255)] | None = None
    name: Annotated[str, Meta(max_length=63)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 50
    cursor: str | None = None


class AgentAccess(Struct, frozen=True):
    """How to reach the agent; ``token`` is null for keys that may only read."""

    token: str | None
    port: int


class SandboxLimits(Struct, frozen=True):
    """What a sandbox may use."""

    cpu: float
    memory_mb: int
    disk_mb: int
    pids: int


class Sandbox(Struct, frozen=True):
    """A sandbox."""

    id: str
    name: str | None
    state: State
    reason: str | None
    template: str
    isolation: str = field(name="class")
    labels: dict[str, str]
    created_at: str
    started_at: str | None
    expires_at: str | None
    ended_at: str | None
    limits: SandboxLimits
    user: str
    workdir: str | None
    traffic: Literal["public", "private"]
    agent: AgentAccess
    traffic_token: str | None
    domain: str


class SandboxList(Struct, frozen=True):
    """One page of sandboxes, newest first."""

    sandboxes: list[Sandbox]
    next_cursor: str | None


class SandboxUsage(Struct, frozen=True):
    """What a sandbox uses, or used at last."""

    cpu_seconds: float
    memory_bytes: int
    memory_peak_bytes: int
    pids: int
    disk_bytes: int
    oom_kills: int
    egress_bytes_sent: int
    egress_bytes_received: int


class CreateKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=16)] = field(
        default_factory=lambda: list[Scope](("sandboxes", "templates", "secrets", "read"))
    )


class Key(Struct, frozen=True, omit_defaults=True):
    """An API key; its text is in the answer that made it, and nowhere else."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: str
    key: str | UnsetType = UNSET


class KeyList(Struct, frozen=True):
    """A tenant's keys, oldest first."""

    keys: list[Key]


class TemplateView(Struct, frozen=True):
    """A template; layers topmost first."""

    name: str
    layers: list[str]
    size_bytes: int
    user: str
    workdir: str | None
    env: dict[str, str]
    start_command: str | None
    created_at: str
    source: str
    egress: Egress | None


class TemplateList(Struct, frozen=True):
    """All templates, by name."""

    templates: list[TemplateView]


class PutTemplate(Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults of a template made from a tar."""

    user: User = "root"
    workdir: Directory | None = None
    env: Annotated[list[Annotated[str, Meta(description="NAME=value")]], Meta(max_length=512)] = (
        field(default_factory=list[str])
    )
    start_command: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    egress: (
        Annotated[str, Meta(description="JSON: a preset's name, or rules.", max_length=65536)]
        | None
    ) = None


class PullTemplate(Struct, frozen=True, forbid_unknown_fields=True):
    """An image to fetch from a registry."""

    reference: Annotated[str, Meta(min_length=1, max_length=512)]
    username: Annotated[str, Meta(max_length=255)] | None = None
    password: Annotated[str, Meta(max_length=4096)] | None = None
    plain_http: bool = False


class Health(Struct, frozen=True):
    """Whether the parts of the node are there."""

    status: Literal["ok", "degraded"]
    launcher: bool
    edge: bool


class Storage(Struct, frozen=True):
    """The disk pool."""

    kind: str
    disk_limits: bool
    bytes_total: int
    bytes_free: int


class Node(Struct, frozen=True):
    """This node."""

    version: str
    domain: str
    classes: list[str]
    cgroups: str
    storage: Storage
    edge_connected: bool
    sandboxes: dict[str, int]


class ErrorDetail(Struct, frozen=True, omit_defaults=True):
    """What went wrong, and what can be done about it."""

    code: str
    message: str
    hint: str | UnsetType = UNSET


class ErrorBody(Struct, frozen=True):
    """Every error of the native API."""

    error: ErrorDetail


class PullResult(Struct, frozen=True):
    """What a pull ends with."""

    template: TemplateView
