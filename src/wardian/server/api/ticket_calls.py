"""Tickets over the API."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote

from msgspec import Meta, Struct
from starlette.responses import Response

from wardian.server.api import views
from wardian.server.api.operations import Call, Operation, json
from wardian.server.api.public_address import host, scheme
from wardian.server.errors import SandboxEnded
from wardian.server.keys.tickets import Ticket
from wardian.server.sandboxes.records import now_ms

# One literal for the model, one table for whoever reads what they are.
Service = Literal["sessions", "processes", "run", "terminals", "files", "watch", "git"]
SERVICES: dict[str, str] = {
    "sessions": "Shells whose directory, variables and functions persist.",
    "processes": "Background commands with a name and a log.",
    "run": "One command, its output as an answer or as events.",
    "terminals": "Terminals that clients attach to over WebSocket.",
    "files": "Lists, searches, content, archives and attributes of files.",
    "watch": "Changes of files, live or since a cursor.",
    "git": "Git repositories in the sandbox.",
}

_PATH = r"^$|^[A-Za-z0-9._~-]{1,255}(/[A-Za-z0-9._~-]{1,255}){0,15}$(?!\n)"


class CreateTicket(Struct, frozen=True, forbid_unknown_fields=True):
    """A ticket to make."""

    service: Service
    path: Annotated[
        str, Meta(pattern=_PATH, description="Only this path of the service and what is below it.")
    ] = ""
    expires_in: Annotated[int, Meta(ge=60, le=604800, description="Seconds.")] = 3600

    def __post_init__(self) -> None:
        if any(part in (".", "..") for part in self.path.split("/")):
            raise ValueError("path: a part must not be a dot or two")


class TicketView(Struct, frozen=True):
    """A ticket, and an address that holds it."""

    ticket: str
    url: str
    expires_at: str


async def create(call: Call) -> Response:
    """Makes a ticket."""
    body: CreateTicket = call.body
    record = await call.services.lifecycle.get(call.key.tenant, call.path("sandbox"))
    if not record.live:
        raise SandboxEnded(record.id)
    expires_at = now_ms() + body.expires_in * 1000
    ticket = call.services.tickets.issue(
        Ticket(record.tenant, call.key.id, record.id, body.service, body.path, expires_at)
    )
    path = f"/{body.path}" if body.path else ""
    origin = f"{scheme(call.request)}://{host(call.request)}"
    address = f"{origin}/v1/sandboxes/{record.id}/{body.service}{path}"
    url = f"{address}?ticket={quote(ticket)}"
    return json(TicketView(ticket, url, views.timestamp(expires_at)), 201)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path="/v1/sandboxes/{sandbox}/tickets",
        name="createTicket",
        summary="Make a ticket that stands for a key where no header can be sent (?ticket=).",
        handler=create,
        scopes=("sandboxes",),
        body=CreateTicket,
        answers={201: TicketView},
    ),
)
