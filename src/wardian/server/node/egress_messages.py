"""What is said about egress between control plane and edge; the other writing of the same is
``crates/wire/src/egress``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

U64 = Annotated[int, Meta(ge=0)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Port = Annotated[int, Meta(ge=0, le=65535)]
MAX_RULES = 512


class _Part(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class NamedSecret(_Part, frozen=True):
    """A secret's name and value."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"NamedSecret(name={self.name!r})"


class _Injection(Struct, frozen=True, forbid_unknown_fields=True, tag_field="into"):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class HeaderInjection(_Injection, frozen=True, tag="header"):
    """Replaces a header line, or adds it."""

    name: str
    value: str
    secrets: list[NamedSecret]

    __repr__ = _Injection.__repr__


class QueryInjection(_Injection, frozen=True, tag="query"):
    """Replaces a query parameter, or adds it; ``value`` is not encoded yet."""

    name: str
    value: str
    secrets: list[NamedSecret]

    __repr__ = _Injection.__repr__


class BasicInjection(_Injection, frozen=True, tag="basic"):
    """``Authorization: Basic …``."""

    username: str
    password: str
    secrets: list[NamedSecret]

    __repr__ = _Injection.__repr__


class Sigv4Injection(_Injection, frozen=True, tag="sigv4"):
    """Signs the request anew; region and service ``None``: those the sandbox signed for."""

    access_key: str
    secret_key: str
    session_token: str | None
    region: str | None
    service: str | None
    secrets: list[NamedSecret]

    __repr__ = _Injection.__repr__


Injection = HeaderInjection | QueryInjection | BasicInjection | Sigv4Injection


class HandlerCall(_Part, frozen=True):
    """Python that answers or edits the request."""

    name: str
    parameters: dict[str, Any]
    timeout_ms: U32


class Deny(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="deny"):
    """Nothing passes."""


class Allow(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="allow"):
    """It passes, and this happens to it."""

    connect_to: str | None
    inject: list[Injection]
    substitute: list[str]
    handler: HandlerCall | None
    redact: bool


class Rule(_Part, frozen=True):
    """One rule; a field that is empty or ``None`` matches everything."""

    name: str
    hosts: list[str]
    ports: list[str]
    cidrs: list[str]
    methods: list[str]
    path: str | None
    action: Deny | Allow


class Placeholder(_Part, frozen=True):
    """What the sandbox holds in place of the secret ``name``."""

    name: str
    text: str
    value: str

    def __repr__(self) -> str:
        return f"Placeholder(name={self.name!r})"


class Policy(_Part, frozen=True):
    """What one sandbox may reach: the first rule that matches decides, and if none does, no."""

    rules: list[Rule] = []
    placeholders: list[Placeholder] = []


class Settings(_Part, frozen=True):
    """What the edge needs once for the whole node, all PEM."""

    authority_certificate: str
    authority_key: str
    trusted: str

    def __repr__(self) -> str:
        return "Settings(…)"


class Question(_Part, frozen=True):
    """What would happen to this? Without ``method`` and ``path``: to a connection."""

    host: str
    port: Port
    method: str | None
    path: str | None


class Explanation(_Part, frozen=True):
    """Which rule decides (``None``: none matched), counted from 0, and what it says."""

    allowed: bool
    rule: str | None
    index: U32 | None
    opened: bool
    resolves: bool
    secrets: list[str]
    handler: str | None
    reason: str


Kind = Literal["name", "connection", "request", "packet"]
Verdict = Literal["allowed", "denied", "failed", "attempt"]
Reason = Literal[
    "no_rule",
    "private_address",
    "unknown_address",
    "sni_mismatch",
    "host_mismatch",
    "encrypted_hello",
    "not_http",
    "malformed",
    "too_large",
    "tunnel",
    "invalid_name",
    "query_type",
    "protocol",
    "unresolved",
    "unreachable",
    "certificate",
    "upstream",
    "handler",
    "credential",
    "too_many",
    "timeout",
]


class Event(_Part, frozen=True):
    """One decision; ``time`` in microseconds since 1970, ``sent`` and ``received`` in bytes."""

    sandbox: str
    time: U64
    kind: Kind
    verdict: Verdict
    rule: str | None
    reason: Reason | None
    host: str
    port: Port
    address: str | None
    method: str | None
    path: str | None
    status: int | None
    sent: U64
    received: U64
    duration_us: U64
    secrets: list[str]
    handler: str | None


class Traffic(_Part, frozen=True):
    """Bytes of one sandbox since the last report."""

    sandbox: str
    sent: U64
    received: U64
