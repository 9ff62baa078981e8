"""From what was asked for to what the edge is told: one list, values of secrets in their places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from wardian.server.egress import destinations, templating
from wardian.server.egress.injections import Injection
from wardian.server.egress.model import EffectiveRule, Egress, RuleFields, StoredEgress
from wardian.server.egress.presets import Presets
from wardian.server.errors import InvalidRequest, SecretHost, SecretNotFound
from wardian.server.node import egress_messages as wire
from wardian.server.secrets.model import Secret

# All policies together travel in one message when an edge connects.
MOST_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Compiled:
    """What is in force for one sandbox; ``secrets``: the names of all that it uses or holds."""

    policy: wire.Policy
    secrets: frozenset[str] = frozenset()


def effective(stored: StoredEgress, presets: Presets) -> list[EffectiveRule]:
    """All rules in the order in which they are asked, each with the name events call it.

    Raises:
        PresetNotFound: a preset is not there.
        InvalidRequest: there are more than the edge takes.
    """
    rules = _own(stored.own, "sandbox")
    later: list[EffectiveRule] = []
    if stored.own.template and stored.template is not None:
        later = _own(stored.template, "template")
    own, templates = _presets(stored)
    rules += [*_from(own, presets), *later, *_from(templates, presets)]
    if len(rules) > wire.MAX_RULES:
        raise InvalidRequest(
            f"egress: {len(rules)} rules in all, at most {wire.MAX_RULES} are possible"
        )
    return rules


def lets_out(rules: list[EffectiveRule]) -> bool:
    """Whether anything at all may pass."""
    return any(rule.allows for rule in rules)


def compiled(
    rules: list[EffectiveRule], secrets: Mapping[str, Secret], placeholders: Mapping[str, str]
) -> Compiled:
    """The policy for the edge.

    Args:
        rules: what :func:`effective` gave.
        secrets: all the sandbox's tenant has.
        placeholders: texts by the names of the secrets they stand for.

    Raises:
        SecretNotFound: a rule or a placeholder names one that is not there.
        SecretHost: a rule takes a secret to a host it is not for.
        InvalidRequest: it is larger than the edge takes.
    """
    used = list(
        dict.fromkeys([*(name for rule in rules for name in rule.secrets()), *placeholders])
    )
    values: dict[str, str] = {}
    for name in used:
        if name not in secrets:
            raise SecretNotFound(name)
        values[name] = secrets[name].value
    for rule in rules:
        for name in rule.secrets():
            check_hosts(rule, secrets[name])
    policy = wire.Policy(
        rules=[_wire_rule(rule, values) for rule in rules],
        placeholders=[
            wire.Placeholder(name, text, values[name]) for name, text in placeholders.items()
        ],
    )
    if (size := len(msgspec.json.encode(policy))) > MOST_BYTES:
        raise InvalidRequest(
            f"egress: {size} bytes with the secrets in it, at most {MOST_BYTES} are possible"
        )
    return Compiled(policy, frozenset(used))


def check_hosts(rule: RuleFields, secret: Secret) -> None:
    """Raises:
    SecretHost: the secret is bound to hosts, and the rule matches others too.
    """
    if not secret.hosts:
        return
    for host in rule.hosts or [destinations.ANYTHING]:
        if not any(destinations.covers(pattern, host) for pattern in secret.hosts):
            raise SecretHost(secret.name, host, rule.name or "")


def presets_of(stored: StoredEgress) -> list[str]:
    """The presets in force, each once."""
    own, templates = _presets(stored)
    return [*own, *templates]


def _presets(stored: StoredEgress) -> tuple[list[str], list[str]]:
    own = stored.own.presets
    if not stored.own.template or stored.template is None:
        return own, []
    # The second time the same rules could decide nothing.
    return own, [name for name in stored.template.presets if name not in own]


def _own(egress: Egress, origin: str) -> list[EffectiveRule]:
    prefix = "" if origin == "sandbox" else f"{origin}/"
    return [_placed(rule, f"{prefix}{rule.name}", origin) for rule in egress.rules]


def _from(names: list[str], presets: Presets) -> list[EffectiveRule]:
    return [
        _placed(rule, f"preset:{name}/{rule.name}", f"preset:{name}")
        for name in names
        for rule in presets.get(name).rules
    ]


def _placed(rule: RuleFields, name: str, origin: str) -> EffectiveRule:
    fields: dict[str, Any] = {field: getattr(rule, field) for field in RuleFields.__struct_fields__}
    fields["name"] = name
    return EffectiveRule(origin=origin, **fields)


def _wire_rule(rule: EffectiveRule, values: Mapping[str, str]) -> wire.Rule:
    return wire.Rule(
        name=rule.name,
        hosts=rule.hosts,
        ports=[str(port) for port in rule.ports],
        cidrs=rule.cidrs,
        methods=rule.methods,
        path=rule.path,
        action=_allow(rule, values) if rule.allows else wire.Deny(),
    )


def _allow(rule: EffectiveRule, values: Mapping[str, str]) -> wire.Allow:
    handler = rule.handler
    return wire.Allow(
        connect_to=rule.connect_to,
        inject=[_wire_injection(injection, values) for injection in rule.inject],
        substitute=rule.substitute,
        handler=None
        if handler is None
        else wire.HandlerCall(handler.name, handler.parameters, round(handler.timeout * 1000)),
        redact=rule.redact,
    )


def _wire_injection(injection: Injection, values: Mapping[str, str]) -> wire.Injection:
    named = [wire.NamedSecret(name, values[name]) for name in injection.secrets()]

    def filled(text: str | None) -> str:
        return templating.render(text or "", values)

    if injection.header is not None:
        return wire.HeaderInjection(injection.header, filled(injection.value), named)
    if injection.query is not None:
        return wire.QueryInjection(injection.query, filled(injection.value), named)
    if injection.basic is not None:
        basic = injection.basic
        return wire.BasicInjection(filled(basic.username), filled(basic.password), named)
    signing = injection.sigv4
    if signing is None:
        raise ValueError("an injection of nothing")
    token = None if signing.session_token is None else filled(signing.session_token)
    return wire.Sigv4Injection(
        filled(signing.access_key),
        filled(signing.secret_key),
        token,
        signing.region,
        signing.service,
        named,
    )
