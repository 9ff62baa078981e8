"""What may be asked for: rules and presets, checked field by field and kept in one spelling.

What each field may hold is checked as it is read, so a rule that exists is as it must be;
``tests/vectors/egress_rules.json`` holds examples that the edge's reader is tested with too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from wardian.server.egress import destinations, templating
from wardian.server.egress.injections import Injection

Action = Literal["allow", "deny"]
SecretName = Annotated[
    str, Meta(pattern=templating.NAME_PATTERN, description="A-Z, 0-9 and _, at most 64.")
]
RuleName = Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$(?!\n)")]
PresetName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)")]
MOST_OWN_RULES = 256
MOST_TIMEOUT = 600

_METHOD = re.compile(r"[A-Z][A-Z0-9_-]{0,31}")
_PATH = re.compile(r"[/*][!-~]{0,1023}")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%2[EeFf]")
_MOST_STARS = 16
_MOST_PARAMETERS = 16 * 1024


class Handler(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Python on the node that answers or edits the request."""

    # What `wardian.handlers.handler` takes: another name could never be there.
    name: Annotated[str, Meta(pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$(?!\n)")]
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    timeout: Annotated[float, Meta(ge=0.1, le=MOST_TIMEOUT, description="Seconds.")] = 5.0


Masked = TypeVar("Masked", bound="RuleFields")


class RuleFields(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What every rule has; what is left out matches everything."""

    name: str | None = None
    action: Action
    hosts: Annotated[list[str], Meta(max_length=256)] = field(default_factory=list[str])
    ports: Annotated[list[int | str], Meta(max_length=64)] = field(default_factory=list[int | str])
    cidrs: Annotated[list[str], Meta(max_length=256)] = field(default_factory=list[str])
    methods: Annotated[list[str], Meta(max_length=32)] = field(default_factory=list[str])
    path: str | None = None
    connect_to: str | None = None
    inject: Annotated[list[Injection], Meta(max_length=16)] = field(default_factory=list[Injection])
    substitute: Annotated[list[SecretName], Meta(max_length=32)] = field(default_factory=list[str])
    handler: Handler | None = None
    redact: bool = False

    @property
    def allows(self) -> bool:
        """Whether it lets something out."""
        return self.action == "allow"

    def secrets(self) -> list[str]:
        """The names of all secrets it uses, each once."""
        injected = [name for each in self.inject for name in each.secrets()]
        return list(dict.fromkeys([*injected, *self.substitute]))


class Rule(RuleFields, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One rule; ``host`` may be said instead of a list of one."""

    name: RuleName | None = None
    host: str | None = None

    def __post_init__(self) -> None:
        try:
            self._settle()
        except ValueError as error:
            named = "" if self.name is None else f"rule {self.name!r}: "
            raise ValueError(f"{named}{error}") from error

    def _settle(self) -> None:
        if self.host is not None:
            if self.hosts:
                raise ValueError("host: say host or hosts, not both")
            self._set("hosts", [_checked("host", destinations.host_pattern, self.host)])
            self._set("host", None)
        else:
            self._set("hosts", _each("hosts", destinations.host_pattern, self.hosts))
        self._set("ports", _each("ports", destinations.port_range, self.ports))
        self._set("cidrs", _each("cidrs", destinations.network, self.cidrs))
        self._set("methods", _each("methods", method, self.methods))
        if self.path is not None:
            _checked("path", path_pattern, self.path)
        if self.connect_to is not None:
            endpoint = _checked("connect_to", destinations.endpoint, self.connect_to)
            self._set("connect_to", endpoint)
        self._set("substitute", list(dict.fromkeys(self.substitute)))
        for index, injection in enumerate(self.inject):
            _checked(f"inject[{index}]", Injection.check, injection)
        if self.handler is not None and (
            len(msgspec.json.encode(self.handler.parameters)) > _MOST_PARAMETERS
        ):
            raise ValueError(f"handler.parameters: longer than {_MOST_PARAMETERS} bytes of JSON")
        self._check_denial()

    def _check_denial(self) -> None:
        if self.allows:
            return
        for name in ("connect_to", "inject", "substitute", "handler", "redact"):
            if getattr(self, name):
                raise ValueError(f"{name}: a rule that denies does nothing else")

    def _set(self, name: str, value: object) -> None:
        msgspec.structs.force_setattr(self, name, value)


class EffectiveRule(RuleFields, frozen=True, kw_only=True, omit_defaults=True):
    """A rule where it stands in the whole list; ``origin``: ``sandbox``, ``preset:…`` or
    ``template``.
    """

    name: str = ""
    origin: str


class Egress(Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for: own rules, then presets, then (``template``) those of the template."""

    rules: Annotated[list[Rule], Meta(max_length=MOST_OWN_RULES)] = field(
        default_factory=list[Rule]
    )
    presets: Annotated[list[PresetName], Meta(max_length=16)] = field(default_factory=list[str])
    template: bool = True

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "rules", _named(self.rules))
        msgspec.structs.force_setattr(self, "presets", list(dict.fromkeys(self.presets)))


class StoredEgress(Struct, frozen=True, omit_defaults=True):
    """What a sandbox's record keeps: what was asked for it, and what its template gave it."""

    own: Egress = field(default_factory=Egress)
    template: Egress | None = None


def masked(rule: Masked) -> Masked:
    """A rule without the texts of its injections, which may hold more than names of secrets."""
    if not rule.inject:
        return rule
    return msgspec.structs.replace(rule, inject=[each.masked() for each in rule.inject])


def off() -> Egress:
    """The word ``off``: nothing, whatever the template says."""
    return Egress(template=False)


def meant(value: str | Egress) -> Egress:
    """``off``, the name of a preset, or the thing itself."""
    if isinstance(value, Egress):
        return value
    return off() if value == "off" else Egress(presets=[value])


def method(text: str) -> str:
    """An HTTP method, upper-case.

    Raises:
        ValueError: it is none, or CONNECT, which never passes.
    """
    if text == "CONNECT" or not _METHOD.fullmatch(text):
        raise ValueError(f"{text!r} is no method that can be allowed, such as GET")
    return text


def path_pattern(text: str) -> str:
    """A glob over paths.

    Raises:
        ValueError: it is none, or no path that it could match is ever let through.
    """
    if not _PATH.fullmatch(text) or "?" in text or "#" in text:
        raise ValueError(
            "expected a path that begins with / or *: at most 1024 printable ASCII characters,"
            " without ? and #"
        )
    if _ESCAPE.search(text):
        raise ValueError("% must begin an escape, and not that of a slash or dot")
    if "//" in text or any(part in (".", "..") for part in text.split("/")):
        raise ValueError("doubled slashes and dot segments never pass")
    if "***" in text or text.count("*") > _MOST_STARS:
        raise ValueError(f"at most {_MOST_STARS} stars, no more than two together")
    return text


def _checked(name: str, check: Callable[[Any], Any], value: object) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _each(name: str, check: Callable[[Any], str], values: Iterable[object]) -> list[str]:
    found = [_checked(f"{name}[{index}]", check, value) for index, value in enumerate(values)]
    return list(dict.fromkeys(found))


def _named(rules: list[Rule]) -> list[Rule]:
    taken = {rule.name for rule in rules if rule.name is not None}
    if len(taken) < sum(rule.name is not None for rule in rules):
        names = [rule.name for rule in rules if rule.name is not None]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"rules: two are named {twice!r}")
    return [rule if rule.name else with_name(rule, taken) for rule in rules]


def with_name(rule: Rule, taken: set[str]) -> Rule:
    """The rule under the first free name ``rule-N``, which is taken then."""
    number = 1
    while f"rule-{number}" in taken:
        number += 1
    taken.add(f"rule-{number}")
    return msgspec.structs.replace(rule, name=f"rule-{number}")
