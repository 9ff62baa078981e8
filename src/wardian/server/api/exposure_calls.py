"""Exposures over the API."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from wardian.server.api import views
from wardian.server.api.operations import Call, Operation, json
from wardian.server.api.public_address import port_suffix, scheme
from wardian.server.errors import InvalidRequest, SandboxEnded
from wardian.server.exposures import passes
from wardian.server.exposures.model import (
    AUTO,
    Exposure,
    HostHeader,
    Visibility,
    WantedExposure,
)
from wardian.server.keys.model import Scope
from wardian.server.sandboxes.records import SandboxRecord, now_ms

_READ: tuple[Scope, ...] = ("sandboxes", "read")
_WRITE: tuple[Scope, ...] = ("sandboxes",)
_MOST_PORT = 65535

Port = Annotated[int, Meta(ge=1, le=_MOST_PORT)]
Label = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Token = Annotated[
    str,
    Meta(
        pattern=r"^(auto|[a-z0-9]{8,32})$(?!\n)",
        description="The last part of the address: 8 to 32 of a-z and 0-9, or auto.",
    ),
]


class CreateExposure(Struct, frozen=True, forbid_unknown_fields=True):
    """A port to expose."""

    port: Port
    name: Label | None = None
    token: Token = AUTO
    visibility: Visibility = "private"
    host_header: HostHeader = "preserve"


class ExposureView(Struct, frozen=True):
    """An exposed port; ``token`` and ``url`` are null for keys that may only read."""

    port: int
    name: str | None
    token: str | None
    visibility: Visibility
    host_header: HostHeader
    url: str | None
    created_at: str


class ExposureList(Struct, frozen=True):
    """What is exposed of a sandbox, by port."""

    exposures: list[ExposureView]


class CreateVisit(Struct, frozen=True, forbid_unknown_fields=True):
    """A signed address to make."""

    expires_in: Annotated[int, Meta(ge=60, le=604800, description="Seconds.")] = 3600


class VisitView(Struct, frozen=True):
    """An address that lets its visitor into a private exposure."""

    url: str
    expires_at: str


async def _found(call: Call) -> SandboxRecord:
    return await call.services.lifecycle.get(call.key.tenant, call.path("sandbox"))


def _port(call: Call) -> int:
    text = call.path("port")
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MOST_PORT))):
        raise InvalidRequest(f"{text!r} is no port")
    return int(text)


def _address(call: Call, exposure: Exposure) -> str:
    domain = call.services.configuration.domain
    label = f"{exposure.port}-{exposure.sandbox}-{exposure.secrets.token}"
    return f"{scheme(call.request)}://{label}.{domain}{port_suffix(call.request)}"


def _view(call: Call, exposure: Exposure) -> ExposureView:
    usable = call.key.may("sandboxes")
    return ExposureView(
        port=exposure.port,
        name=exposure.name,
        token=exposure.secrets.token if usable else None,
        visibility=exposure.visibility,
        host_header=exposure.host_header,
        url=_address(call, exposure) if usable else None,
        created_at=views.timestamp(exposure.created_at),
    )


async def expose(call: Call) -> Response:
    """Exposes a port."""
    body: CreateExposure = call.body
    wanted = WantedExposure(body.port, body.name, body.token, body.visibility, body.host_header)
    made, new = await call.services.exposures.expose(await _found(call), wanted)
    return json(_view(call, made), 201 if new else 200)


async def list_all(call: Call) -> Response:
    """Lists what is exposed."""
    found = await call.services.exposures.of(await _found(call))
    return json(ExposureList([_view(call, exposure) for exposure in found]))


async def unexpose(call: Call) -> Response:
    """Takes an exposure back."""
    await call.services.exposures.unexpose(await _found(call), _port(call))
    return Response(status_code=204)


async def sign(call: Call) -> Response:
    """Makes an address that lets its visitor in."""
    body: CreateVisit = call.body
    record = await _found(call)
    exposure = await call.services.exposures.get(record, _port(call))
    if not record.live:
        raise SandboxEnded(record.id)
    expires = now_ms() // 1000 + body.expires_in
    signing = exposure.secrets.signing
    ticket = passes.ticket(signing, exposure.sandbox, exposure.port, expires)
    url = f"{_address(call, exposure)}/?{passes.PARAMETER}={ticket}"
    return json(VisitView(url, views.timestamp(expires * 1000)), 201)


_ALL = "/v1/sandboxes/{sandbox}/exposures"

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="POST",
        path=_ALL,
        name="exposePort",
        summary="Give a port an address of its own; one that has it keeps it.",
        handler=expose,
        scopes=_WRITE,
        body=CreateExposure,
        answers={200: ExposureView, 201: ExposureView},
    ),
    Operation(
        method="GET",
        path=_ALL,
        name="listExposures",
        summary="List the exposed ports of a sandbox.",
        handler=list_all,
        scopes=_READ,
        answers={200: ExposureList},
    ),
    Operation(
        method="DELETE",
        path=_ALL + "/{port}",
        name="unexposePort",
        summary="Take an address back, and cut what is open through it.",
        handler=unexpose,
        scopes=_WRITE,
        answers={204: None},
    ),
    Operation(
        method="POST",
        path=_ALL + "/{port}/tickets",
        name="signExposure",
        summary="Make an address that lets its visitor into a private exposure for a while.",
        handler=sign,
        scopes=_WRITE,
        body=CreateVisit,
        answers={201: VisitView},
    ),
)
