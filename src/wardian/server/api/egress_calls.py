"""What sandboxes may reach, over the API."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct
from starlette.responses import Response

from wardian.server.api.operations import Call, Operation, json
from wardian.server.egress import destinations
from wardian.server.egress.model import (
    EffectiveRule,
    Egress,
    PresetName,
    Rule,
    SecretName,
    masked,
    meant,
    method,
    with_name,
)
from wardian.server.errors import InvalidRequest, RuleNotFound, SandboxEnded
from wardian.server.keys.model import Scope
from wardian.server.node.egress_messages import Question
from wardian.server.sandboxes.records import SandboxRecord

_READ: tuple[Scope, ...] = ("sandboxes", "read")
_WRITE: tuple[Scope, ...] = ("sandboxes",)
_MOST_URL = 8192
_PORTS = {"http": 80, "https": 443}


class EgressView(Struct, frozen=True):
    """What was asked for, and all rules in the order in which they are asked."""

    rules: list[Rule]
    presets: list[str]
    template: bool
    effective: list[EffectiveRule]


class AddRule(Struct, frozen=True, forbid_unknown_fields=True):
    """A rule to add; one of the same name is replaced, where it stands unless told otherwise."""

    rule: Rule
    position: Literal["first", "last"] | None = None


class ExplainEgress(Struct, frozen=True, forbid_unknown_fields=True):
    """A question: a ``url`` (a request), or ``host`` and ``port`` (a connection)."""

    url: Annotated[str, Meta(max_length=_MOST_URL)] | None = None
    method: Annotated[str, Meta(max_length=32)] | None = None
    host: Annotated[str, Meta(max_length=255)] | None = None
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    egress: (
        Annotated[PresetName | Egress, Meta(description="Instead of what is in force.")] | None
    ) = None

    def __post_init__(self) -> None:
        connection = self.host is not None and self.port is not None
        part = self.host is not None or self.port is not None
        if (self.url is None) != connection or (self.url is not None and part):
            raise ValueError("expected url, or host and port")
        if self.method is not None and self.url is None:
            raise ValueError("method: belongs to a url")


class ExplanationView(Struct, frozen=True):
    """Which rule decides (null: none, which is a no), and what it says."""

    allowed: bool
    rule: str | None
    index: int | None
    opened: bool
    resolves: bool
    secrets: list[str]
    handler: str | None
    reason: str


class PresetView(Struct, frozen=True):
    """Rules under a name."""

    name: str
    description: str
    rules: list[Rule]


class PresetList(Struct, frozen=True):
    """All presets of this node."""

    presets: list[PresetView]


class AskPlaceholder(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret whose placeholder is wanted."""

    secret: SecretName


class PlaceholderView(Struct, frozen=True):
    """What the sandbox holds in place of the secret."""

    placeholder: str


async def _found(call: Call) -> SandboxRecord:
    return await call.services.lifecycle.get(call.key.tenant, call.path("sandbox"))


def _shown(call: Call, record: SandboxRecord) -> Response:
    own = record.egress.own
    rules, effective = own.rules, call.services.policies.effective(record)
    if not call.key.may("sandboxes"):
        rules = [masked(rule) for rule in rules]
        effective = [masked(rule) for rule in effective]
    return json(EgressView(rules, own.presets, own.template, effective))


async def get(call: Call) -> Response:
    """Shows a sandbox's egress."""
    return _shown(call, await _found(call))


async def put(call: Call) -> Response:
    """Replaces a sandbox's egress."""
    body: Egress = call.body
    changed = await call.services.policies.change(
        await _found(call), lambda _: body, may_reach_private=call.key.may("admin")
    )
    return _shown(call, changed)


async def add_rule(call: Call) -> Response:
    """Adds a rule, or replaces the one of its name."""
    body: AddRule = call.body
    changed = await call.services.policies.change(
        await _found(call),
        lambda own: _with_rule(own, body),
        may_reach_private=call.key.may("admin"),
    )
    return _shown(call, changed)


def _with_rule(own: Egress, wanted: AddRule) -> Egress:
    rule = wanted.rule
    if rule.name is None:
        rule = with_name(rule, {each.name for each in own.rules if each.name is not None})
    names = [each.name for each in own.rules]
    rules = [each for each in own.rules if each.name != rule.name]
    if wanted.position is None and rule.name in names:
        rules.insert(names.index(rule.name), rule)
    elif wanted.position == "first":
        rules.insert(0, rule)
    else:
        rules.append(rule)
    try:
        return msgspec.convert(
            {"rules": rules, "presets": own.presets, "template": own.template}, Egress
        )
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error


async def remove_rule(call: Call) -> Response:
    """Takes a rule away."""
    record = await _found(call)
    name = call.path("rule")

    def without(own: Egress) -> Egress:
        rules = [rule for rule in own.rules if rule.name != name]
        if len(rules) == len(own.rules):
            raise RuleNotFound(record.id, name)
        return Egress(rules=rules, presets=own.presets, template=own.template)

    changed = await call.services.policies.change(
        record, without, may_reach_private=call.key.may("admin")
    )
    return _shown(call, changed)


async def explain(call: Call) -> Response:
    """Says what the edge would do."""
    body: ExplainEgress = call.body
    record = await _found(call)
    if not record.live:
        raise SandboxEnded(record.id)
    question = _question(body)
    own = None if body.egress is None else meant(body.egress)
    policy = call.services.policies.trial(record, own)
    answer = await call.services.edge.explain(policy, question)
    return json(msgspec.convert(msgspec.structs.asdict(answer), ExplanationView))


def _question(body: ExplainEgress) -> Question:
    try:
        if body.url is None:
            return Question(destinations.host(body.host or ""), body.port or 0, None, None)
        parts = urlsplit(body.url)
        if parts.scheme not in _PORTS or parts.hostname is None:
            raise ValueError("expected http:// or https:// and a host")
        if parts.username is not None or not body.url.isascii() or not body.url.isprintable():
            raise ValueError("expected printable ASCII without a user name")
        return Question(
            destinations.host(parts.hostname),
            parts.port or _PORTS[parts.scheme],
            method(body.method or "GET"),
            parts.path or "/",
        )
    except ValueError as error:
        where = "host" if body.url is None else "url"
        raise InvalidRequest(f"{error} - at `$.{where}`") from error


async def presets(call: Call) -> Response:
    """Lists presets."""
    found = call.services.policies.presets.all()
    return json(
        PresetList([PresetView(each.name, each.description, list(each.rules)) for each in found])
    )


async def placeholder(call: Call) -> Response:
    """Gives what the sandbox holds in place of a secret."""
    body: AskPlaceholder = call.body
    text = await call.services.policies.placeholder(await _found(call), body.secret)
    return json(PlaceholderView(text))


_ALL = "/v1/sandboxes/{sandbox}/egress"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="GET",
        path=_ALL,
        name="getEgress",
        summary="Show what a sandbox may reach.",
        handler=get,
        scopes=_READ,
        answers={200: EgressView},
    ),
    Operation(
        method="PUT",
        path=_ALL,
        name="putEgress",
        summary="Replace what a sandbox may reach; in force when the call returns.",
        handler=put,
        scopes=_WRITE,
        body=Egress,
        answers={200: EgressView},
    ),
    Operation(
        method="POST",
        path=_ALL + "/rules",
        name="addEgressRule",
        summary="Add a rule of the sandbox's own, or replace the one of its name.",
        handler=add_rule,
        scopes=_WRITE,
        body=AddRule,
        answers={200: EgressView},
    ),
    Operation(
        method="DELETE",
        path=_ALL + "/rules/{rule}",
        name="deleteEgressRule",
        summary="Take a rule of the sandbox's own away.",
        handler=remove_rule,
        scopes=_WRITE,
        answers={200: EgressView},
    ),
    Operation(
        method="POST",
        path=_ALL + "/explain",
        name="explainEgress",
        summary="Ask which rule would decide a request or connection; nothing is sent.",
        handler=explain,
        scopes=_READ,
        body=ExplainEgress,
        answers={200: ExplanationView},
    ),
    Operation(
        method="GET",
        path="/v1/egress/presets",
        name="listEgressPresets",
        summary="List the presets of this node.",
        handler=presets,
        scopes=_READ,
        answers={200: PresetList},
    ),
    Operation(
        method="POST",
        path="/v1/sandboxes/{sandbox}/placeholders",
        name="getPlaceholder",
        summary="What the sandbox holds in place of a secret; made when first asked for.",
        handler=placeholder,
        scopes=_WRITE,
        body=AskPlaceholder,
        answers={200: PlaceholderView},
    ),
)
