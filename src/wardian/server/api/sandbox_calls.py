"""Calls on sandboxes."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import UnsetType
from starlette.responses import Response

from wardian.server.api import models, views
from wardian.server.api.operations import Call, Operation, json
from wardian.server.egress.model import meant
from wardian.server.errors import InvalidRequest
from wardian.server.keys.model import Scope
from wardian.server.sandboxes.lifecycle import UNCHANGED
from wardian.server.sandboxes.records import (
    LIVE_STATES,
    MEBIBYTE,
    Idempotency,
    Limits,
    NewSandbox,
    SandboxRecord,
    State,
)
from wardian.server.store.pages import Filter, Position

_READ: tuple[Scope, ...] = ("sandboxes", "read")
_WRITE: tuple[Scope, ...] = ("sandboxes",)
_MOST_KEY_LENGTH = 255


def _shown(call: Call, record: SandboxRecord, status: int = 200) -> Response:
    domain = call.services.configuration.domain
    return json(views.sandbox(record, domain, call.key), status)


async def _found(call: Call) -> SandboxRecord:
    return await call.services.lifecycle.get(call.key.tenant, call.path("sandbox"))


async def create(call: Call) -> Response:
    """Makes a sandbox."""
    body: models.CreateSandbox = call.body
    wanted = NewSandbox(
        template=body.template,
        name=body.name,
        isolation=body.isolation,
        timeout=body.timeout,
        env=models.plain_values(body.env),
        labels=body.labels,
        user=body.user,
        workdir=body.workdir,
        limits=Limits(
            cpu_millis=round(body.limits.cpu * 1000),
            memory_bytes=body.limits.memory_mb * MEBIBYTE,
            disk_bytes=body.limits.disk_mb * MEBIBYTE,
            pids=body.limits.pids,
        ),
        private_traffic=body.traffic == "private",
        secret_env=models.secret_values(body.env),
        egress=None if body.egress is None else meant(body.egress),
        may_reach_private=call.key.may("admin"),
    )
    record = await call.services.creation.create(call.key.tenant, wanted, _idempotency(call, body))
    return _shown(call, record, 201)


def _idempotency(call: Call, body: models.CreateSandbox) -> Idempotency | None:
    key = call.request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 1 <= len(key) <= _MOST_KEY_LENGTH or not key.isprintable() or not key.isascii():
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {_MOST_KEY_LENGTH} printable ASCII characters"
        )
    # The meaning of the body, not its spelling.
    canonical = msgspec.json.encode(body, order="deterministic")
    return Idempotency(key, hashlib.sha256(canonical).hexdigest())


async def list_page(call: Call) -> Response:
    """Lists sandboxes."""
    query: models.ListSandboxes = call.query
    states = frozenset(State(state) for state in query.state) or LIVE_STATES
    wanted = Filter(
        states=states,
        labels=tuple(_label(text) for text in query.label),
        template=query.template,
        name=query.name,
    )
    after = None if query.cursor is None else Position.parse(query.cursor)
    page = await call.services.lifecycle.page(call.key.tenant, wanted, query.limit, after)
    domain = call.services.configuration.domain
    return json(
        models.SandboxList(
            sandboxes=[views.sandbox(record, domain, call.key) for record in page.sandboxes],
            next_cursor=None if page.next is None else page.next.cursor(),
        )
    )


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise InvalidRequest(f"label {text!r} is not of the form key=value - at `$.label`")
    if "\0" in text:
        raise InvalidRequest("label holds a NUL character - at `$.label`")
    return key, value


async def get(call: Call) -> Response:
    """Shows a sandbox."""
    return _shown(call, await _found(call))


async def update(call: Call) -> Response:
    """Changes a sandbox."""
    body: models.UpdateSandbox = call.body
    record = await call.services.lifecycle.update(
        await _found(call),
        name=UNCHANGED if isinstance(body.name, UnsetType) else body.name,
        labels=UNCHANGED if isinstance(body.labels, UnsetType) else body.labels,
        timeout=UNCHANGED if isinstance(body.timeout, UnsetType) else body.timeout,
        env=UNCHANGED if isinstance(body.env, UnsetType) else _unplaced(body.env),
        secret_env={} if isinstance(body.env, UnsetType) else models.secret_values(body.env),
    )
    return _shown(call, record)


def _unplaced(
    env: dict[str, str | models.SecretReference | None],
) -> dict[str, str | None]:
    return {
        name: value for name, value in env.items() if not isinstance(value, models.SecretReference)
    }


async def kill(call: Call) -> Response:
    """Ends a sandbox."""
    return _shown(call, await call.services.lifecycle.kill(await _found(call)))


async def usage(call: Call) -> Response:
    """Shows what a sandbox uses."""
    record = await _found(call)
    sent, received = await call.services.egress_record.traffic(record.id)
    return json(views.usage(await call.services.lifecycle.usage(record), sent, received))


_ONE = "/v1/sandboxes/{sandbox}"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/sandboxes",
        name="createSandbox",
        summary="Make a sandbox and start it.",
        handler=create,
        scopes=_WRITE,
        body=models.CreateSandbox,
        answers={201: models.Sandbox},
        headers={
            "Idempotency-Key": "Repeating a call under the same key gives the same sandbox.",
        },
    ),
    Operation(
        method="GET",
        path="/v1/sandboxes",
        name="listSandboxes",
        summary="List sandboxes, newest first; by default those that have not ended.",
        handler=list_page,
        scopes=_READ,
        query=models.ListSandboxes,
        answers={200: models.SandboxList},
    ),
    Operation(
        method="GET",
        path=_ONE,
        name="getSandbox",
        summary="Show a sandbox, by id or by the name of one that has not ended.",
        handler=get,
        scopes=_READ,
        answers={200: models.Sandbox},
    ),
    Operation(
        method="PATCH",
        path=_ONE,
        name="updateSandbox",
        summary="Change labels (replaced whole), time left, name, or variables (merged).",
        handler=update,
        scopes=_WRITE,
        body=models.UpdateSandbox,
        answers={200: models.Sandbox},
    ),
    Operation(
        method="DELETE",
        path=_ONE,
        name="killSandbox",
        summary="End a sandbox; ending an ended one changes nothing.",
        handler=kill,
        scopes=_WRITE,
        answers={200: models.Sandbox},
    ),
    Operation(
        method="GET",
        path=_ONE + "/usage",
        name="getSandboxUsage",
        summary="What a sandbox uses now, or used at last once ended.",
        handler=usage,
        scopes=_READ,
        answers={200: models.SandboxUsage},
    ),
)
