"""The native API, ``/v1``: translate and authorise, nothing else."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wardian.server.api import models, openapi
from wardian.server.api.egress_calls import OPERATIONS as EGRESS_OPERATIONS
from wardian.server.api.egress_event_calls import OPERATIONS as EGRESS_EVENT_OPERATIONS
from wardian.server.api.exposure_calls import OPERATIONS as EXPOSURE_OPERATIONS
from wardian.server.api.node_calls import OPERATIONS as NODE_OPERATIONS
from wardian.server.api.operations import Operation, route
from wardian.server.api.sandbox_calls import OPERATIONS as SANDBOX_OPERATIONS
from wardian.server.api.secret_calls import OPERATIONS as SECRET_OPERATIONS
from wardian.server.api.template_calls import OPERATIONS as TEMPLATE_OPERATIONS
from wardian.server.api.ticket_calls import OPERATIONS as TICKET_OPERATIONS
from wardian.server.api.ticket_calls import SERVICES
from wardian.server.services import Services

OPERATIONS: tuple[Operation, ...] = (
    *SANDBOX_OPERATIONS,
    *TICKET_OPERATIONS,
    *EXPOSURE_OPERATIONS,
    *EGRESS_OPERATIONS,
    *EGRESS_EVENT_OPERATIONS,
    *SECRET_OPERATIONS,
    *NODE_OPERATIONS,
    *TEMPLATE_OPERATIONS,
)


def document() -> bytes:
    """The OpenAPI document of this API."""
    return openapi.build(OPERATIONS, models.ErrorBody, SERVICES)


def routes(services: Services) -> list[BaseRoute]:
    """All routes of the native API."""
    served = document()

    async def specification(_request: Request) -> Response:
        return Response(served, media_type="application/json")

    return [
        *(route(operation, services) for operation in OPERATIONS),
        Route("/v1/openapi.json", specification, methods=["GET"]),
    ]
