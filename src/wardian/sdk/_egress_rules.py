"""One rule of what a sandbox may reach, and what becomes of what is let out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict, TypeVar

from ._credentials import Injection, injection_from, secret_name
from ._errors import ProtocolError

Action = Literal["allow", "deny"]
Position = Literal["first", "last"]
T = TypeVar("T")


class Handler:
    """The operator's Python that answers or edits requests: `Handler("github", owner="me")`.

    Args:
        name: The handler's name.
        timeout: Seconds it has to say what becomes of a request, and of an answer; 5 if not given.
        parameters: What it is told besides the request: values that JSON can hold.
    """

    __slots__ = ("name", "parameters", "timeout")

    name: str
    parameters: Mapping[str, Any]
    timeout: float | None

    def __init__(self, name: str, /, *, timeout: float | None = None, **parameters: Any) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "timeout", timeout)
        object.__setattr__(self, "parameters", dict(parameters))

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        said: dict[str, Any] = {"name": self.name}
        if self.parameters:
            said["parameters"] = dict(self.parameters)
        if self.timeout is not None:
            said["timeout"] = self.timeout
        return said

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Handler:
        """The handler that the API tells of, or that a file holds."""
        made = cls(str(said.get("name", "")), timeout=said.get("timeout"))
        # Not as keywords: a parameter may be called `timeout`.
        object.__setattr__(made, "parameters", dict(said.get("parameters") or {}))
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Handler can't be changed: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Handler can't be changed: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handler) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.name, self.timeout, frozenset(self.parameters)))

    def __repr__(self) -> str:
        given = "".join(f", {key}={value!r}" for key, value in self.parameters.items())
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"Handler({self.name!r}{given}{timeout})"


class DenyOptions(TypedDict, total=False):
    """What a refusing rule may say beside its hosts; the words are those of `EgressRule`."""

    name: str | None
    ports: int | str | Iterable[int | str]
    cidrs: str | Iterable[str]
    methods: str | Iterable[str]
    path: str | None


class AllowOptions(DenyOptions, total=False):
    """What an allowing rule may say beside its hosts; the words are those of `EgressRule`."""

    connect_to: str | None
    inject: Injection | Iterable[Injection]
    substitute: str | Iterable[str]
    handler: Handler | str | None
    redact: bool


@dataclass(frozen=True, slots=True)
class EgressRule:
    """One rule. What is empty or None matches everything.

    Attributes:
        action: `allow` or `deny`.
        hosts: `api.example.com`, `*.example.com` (whatever is below it), `*`, or an address.
        name: What events call it; the server makes one up.
        ports: `443` or `8000-8099`.
        cidrs: Where the destination lies. Grants what is not public, with a key of the scope
            `admin`.
        methods: Of HTTP requests.
        path: Of HTTP requests, without the query: `*` within a segment, `**` across.
        connect_to: `host:port` that is dialled instead.
        inject: Credentials put into requests.
        substitute: Secrets whose placeholders are swapped for their values.
        handler: Python that answers or edits requests.
        redact: Whether the values put in are masked where answers repeat them.
        origin: Where it came from, in what a server tells: `sandbox`, `preset:…`, `template`.
    """

    action: Action
    hosts: tuple[str, ...] = ()
    name: str | None = None
    ports: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    path: str | None = None
    connect_to: str | None = None
    inject: tuple[Injection, ...] = ()
    substitute: tuple[str, ...] = ()
    handler: Handler | None = None
    redact: bool = False
    origin: str | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it: without what says nothing."""
        said: dict[str, Any] = {"action": self.action}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in ("action", "origin") or value in ((), None, False):
                continue
            if isinstance(value, tuple):
                value = [_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
            said[each.name] = _plain(value)
        return said

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> EgressRule:
        """The rule that the API tells of, or that a file holds.

        Raises:
            ProtocolError: It is none.
        """
        rest = dict(said)
        host = rest.pop("host", None)
        if host is not None:
            rest["hosts"] = [host, *rest.get("hosts", ())]
        unknown = rest.keys() - {each.name for each in fields(cls)}
        if unknown or rest.get("action") not in ("allow", "deny"):
            what = f"unknown fields {', '.join(sorted(unknown))}" if unknown else "no action"
            raise ProtocolError(f"a rule of egress has {what}")
        action: Action = rest.pop("action")
        inject = tuple(injection_from(each) for each in rest.pop("inject", None) or ())
        handler: dict[str, Any] | None = rest.pop("handler", None)
        words = {key: rest.pop(key, None) for key in ("ports", "cidrs", "methods", "substitute")}
        return cls(
            action,
            hosts=tuple(rest.pop("hosts", None) or ()),
            inject=inject,
            handler=None if handler is None else Handler.from_dict(handler),
            redact=bool(rest.pop("redact", None)),
            **{key: tuple(str(each) for each in value or ()) for key, value in words.items()},
            **rest,
        )


def make_rule(
    action: Action,
    hosts: Sequence[str],
    *,
    name: str | None = None,
    ports: int | str | Iterable[int | str] = (),
    cidrs: str | Iterable[str] = (),
    methods: str | Iterable[str] = (),
    path: str | None = None,
    connect_to: str | None = None,
    inject: Injection | Iterable[Injection] = (),
    substitute: str | Iterable[str] = (),
    handler: Handler | str | None = None,
    redact: bool = False,
) -> EgressRule:
    """A rule, from what callers may write: one thing where several can stand, lower-case methods.

    Raises:
        ValueError: It names neither a host nor a network, or a secret that can't be called so.
    """
    given = tuple(cidrs) if not isinstance(cidrs, str) else (cidrs,)
    if not hosts and not given:
        raise ValueError("name a host, or '*' for every host")
    return EgressRule(
        action,
        hosts=tuple(hosts),
        name=name,
        ports=tuple(str(port) for port in ([ports] if isinstance(ports, (int, str)) else ports)),
        cidrs=given,
        methods=tuple(m.upper() for m in ([methods] if isinstance(methods, str) else methods)),
        path=path,
        connect_to=connect_to,
        inject=(inject,) if isinstance(inject, Injection) else tuple(inject),
        substitute=tuple(
            secret_name(each)
            for each in ([substitute] if isinstance(substitute, str) else substitute)
        ),
        handler=Handler(handler) if isinstance(handler, str) else handler,
        redact=redact,
    )


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, (Injection, Handler)) else value
