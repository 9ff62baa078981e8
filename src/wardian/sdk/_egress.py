"""What a sandbox may reach, as callers write it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack, cast

from ._egress_rules import AllowOptions, DenyOptions, EgressRule, make_rule
from ._errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Egress:
    """What a sandbox may reach: rules in order, the first that matches decides, and none is no.

    ::

        Egress("packages").allow("api.github.com", methods="GET", path="/repos/**").allow(
            "api.openai.com", inject=Header("Authorization", "Bearer {OPENAI_API_KEY}")
        )

    Its own rules come before those of its presets, and these before the template's. It does not
    change: `allow` and `deny` give a new one.

    Attributes:
        rules: Its own rules.
        presets: Names of the operator's lists of rules.
        template: Whether the template's own rules come last.
    """

    presets: tuple[str, ...]
    rules: tuple[EgressRule, ...]
    template: bool

    def __init__(
        self, *presets: str, rules: Sequence[EgressRule] = (), template: bool = True
    ) -> None:
        object.__setattr__(self, "presets", presets)
        object.__setattr__(self, "rules", tuple(rules))
        object.__setattr__(self, "template", template)

    def allow(self, *hosts: str, **options: Unpack[AllowOptions]) -> Egress:
        """This, and behind it a rule that lets out.

        Args:
            hosts: `api.example.com`, `*.example.com` (whatever is below it), `*` (every name and
                every public address), or an address.
            options: `ports`, `methods`, `path`, `cidrs`, `connect_to`, `inject`, `substitute`,
                `handler`, `redact`, `name`: what each says is with `EgressRule`.

        Raises:
            ValueError: It names neither a host nor a network.
        """
        return self.with_rule(make_rule("allow", hosts, **options))

    def deny(self, *hosts: str, **options: Unpack[DenyOptions]) -> Egress:
        """This, and behind it a rule that refuses; it counts before presets and the template.

        Args:
            hosts: As for `allow`.
            options: `ports`, `methods`, `path`, `cidrs`, `name`.

        Raises:
            ValueError: It names neither a host nor a network.
        """
        return self.with_rule(make_rule("deny", hosts, **options))

    def with_rule(self, rule: EgressRule) -> Egress:
        """This, and behind it `rule`."""
        return Egress(*self.presets, rules=(*self.rules, rule), template=self.template)

    def to_dict(self) -> dict[str, Any]:
        """It, as the API takes it."""
        said: dict[str, Any] = {
            "rules": [rule.to_dict() for rule in self.rules],
            "presets": list(self.presets),
        }
        return said if self.template else said | {"template": False}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Egress:
        """The policy that the API tells of, or that a file holds.

        Raises:
            ProtocolError: It is none.
        """
        unknown = said.keys() - {"rules", "presets", "template", "effective"}
        if unknown:
            raise ProtocolError(f"unknown fields of egress: {', '.join(sorted(unknown))}")
        rules = cast("list[dict[str, Any]]", said.get("rules") or [])
        presets = cast("list[str]", said.get("presets") or [])
        return cls(
            *presets,
            rules=[EgressRule.from_dict(rule) for rule in rules],
            template=bool(said.get("template", True)),
        )


def egress_message(egress: str | Egress) -> dict[str, Any]:
    """A policy in the form of the API; a word is `off` or the name of a preset, such as `on`."""
    if isinstance(egress, str):
        egress = Egress(template=False) if egress == "off" else Egress(egress)
    return egress.to_dict()


def granted(egress: str | Egress | None, internet: str | bool | None) -> str | Egress | None:
    """What `egress` and its one-word form `internet` say together.

    Raises:
        ValueError: Both are given, or `internet` is none of its words.
    """
    if internet is None:
        return egress
    if egress is not None:
        raise ValueError("give egress or internet, not both")
    word = {True: "on", False: "off"}.get(internet) if isinstance(internet, bool) else internet
    if word not in ("on", "off"):
        raise ValueError(f"internet is 'on' or 'off', not {internet!r}")
    return word
