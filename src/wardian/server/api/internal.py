"""What only the edge may ask: whether a request may go to a sandbox, whether a key may visit
its private exposures, and whether an address was one of a sandbox that has ended.

The edge refuses ``/internal/`` from outside; it asks over the control plane's Unix socket, and
says in header lines who wants what (``crates/edge/src/authorise.rs``).
"""

from __future__ import annotations

from urllib.parse import unquote

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wardian.server.api.authentication import authorise
from wardian.server.api.operations import json
from wardian.server.errors import (
    Forbidden,
    InvalidRequest,
    SandboxEnded,
    SandboxPaused,
    Unavailable,
)
from wardian.server.keys.model import Scope
from wardian.server.sandboxes.records import SandboxRecord, State
from wardian.server.services import Services

_READ: tuple[Scope, ...] = ("sandboxes", "read")
_WRITE: tuple[Scope, ...] = ("sandboxes",)
_READING = ("GET", "HEAD")


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody wants; ``sandbox`` and ``path`` as they are written in the address."""

    sandbox: str
    service: str
    path: str
    method: str
    upgrade: bool
    ticket: str | None = None

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Of the scopes any one is enough. An upgrade goes both ways, so it is no mere reading."""
        return _READ if self.method in _READING and not self.upgrade else _WRITE


class Grant(Struct, frozen=True):
    """Leave to speak to a sandbox's agent."""

    sandbox: str
    token: str


def routes(services: Services) -> list[BaseRoute]:
    """The routes for the edge."""

    async def answer(request: Request) -> Response:
        question = _read(request)
        record = await _sandbox(request, question, services)
        _refuse_unless_running(record)
        return json(Grant(record.id, record.secrets.agent_token))

    async def visit(request: Request) -> Response:
        key = await authorise(request, services.keyring, _WRITE)
        await services.lifecycle.get(key.tenant, request.headers.get("wardian-sandbox", ""))
        return Response(status_code=204)

    async def address(request: Request) -> Response:
        said = request.headers
        sandbox, port = said.get("wardian-sandbox", ""), said.get("wardian-port", "")
        token = said.get("wardian-token", "")
        known = port.isdigit() and await services.exposures.existed(sandbox, int(port), token)
        return Response(status_code=204 if known else 404)

    return [
        Route("/internal/authorise", answer, methods=["GET"]),
        Route("/internal/visit", visit, methods=["GET"]),
        Route("/internal/address", address, methods=["GET"]),
    ]


def _read(request: Request) -> Question:
    prefix = "wardian-"
    said = {
        name.removeprefix(prefix): value
        for name, value in request.headers.items()
        if name.startswith(prefix)
    }
    said["upgrade"] = "true" if said.get("upgrade") == "yes" else "false"
    try:
        return msgspec.convert(said, Question, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequest("the edge's question is not understood") from error


async def _sandbox(request: Request, question: Question, services: Services) -> SandboxRecord:
    reference = unquote(question.sandbox)
    headers = request.headers
    if question.ticket is None or "authorization" in headers or "x-api-key" in headers:
        key = await authorise(request, services.keyring, question.scopes)
        return await services.lifecycle.get(key.tenant, reference)
    ticket = await services.tickets.check(question.ticket)
    # Looked up by what the ticket says: which other sandboxes there are is not its holder's.
    record = None
    if ticket.covers(question.service, question.path):
        record = await services.lifecycle.get(ticket.tenant, ticket.sandbox)
    if record is None or reference not in (record.id, record.name):
        raise Forbidden(
            f"this ticket is not good for {question.service}/{question.path} here",
            "it is bound to one sandbox, one service and one path",
        )
    return record


def _refuse_unless_running(record: SandboxRecord) -> None:
    if not record.live or record.ending is not None:
        raise SandboxEnded(record.id)
    if record.state in (State.PAUSED, State.ASLEEP):
        raise SandboxPaused(record.id)
    if record.state is State.CREATING:
        raise Unavailable(f"sandbox {record.id!r} is still being made", "try again in a moment")
