"""The HTTP application: routes, request ids, and every error in the caller's shape."""

from __future__ import annotations

import logging
import secrets
import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wardian.server import logs
from wardian.server.api import internal, native
from wardian.server.api.operations import error_response
from wardian.server.errors import InvalidRequest, MethodNotAllowed, NotFound, WardianError
from wardian.server.services import Services

log = logging.getLogger(__name__)


def build(services: Services) -> Starlette:
    """The application that serves ``services``."""
    application = Starlette(
        routes=[*native.routes(services), *internal.routes(services)],
        middleware=[Middleware(RequestLog)],
        exception_handlers={
            WardianError: _known_error,
            HTTPException: _routing_error,
            ClientDisconnect: _client_gone,
        },
    )
    # One address for each thing; a redirect would name a host the caller may not reach.
    application.router.redirect_slashes = False
    return application


class RequestLog:
    """Gives each request an id, logs it, and answers what nobody foresaw."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = secrets.token_hex(8)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", identifier.encode()))
            await send(message)

        token = logs.request_id.set(identifier)
        began = time.perf_counter()
        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("request failed", extra={"path": scope["path"]})
            if status:
                # Half an answer is out; breaking the connection is all that can be said.
                raise
            hint = f"the server's log has the cause under request {identifier}"
            failure = error_response(WardianError("the server failed at this request", hint))
            await failure(scope, receive, send_with_id)
        finally:
            log.debug(
                "request",
                extra={
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "milliseconds": round((time.perf_counter() - began) * 1000, 2),
                },
            )
            logs.request_id.reset(token)


def _known_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, WardianError):
        raise error
    if error.status >= 500:
        log.error(
            "request failed",
            extra={"code": error.code, "cause": error.message, "under": repr(error.__cause__)},
        )
    return error_response(error)


def _routing_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 405:
        refusal: WardianError = MethodNotAllowed(
            f"{request.method} is not possible on {request.url.path}"
        )
    elif status == 404:
        refusal = NotFound(f"nothing at {request.url.path}", "see /v1/openapi.json")
    elif status < 500:
        refusal = InvalidRequest("the request can't be understood")
    else:
        raise error
    response = error_response(refusal)
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


def _client_gone(_request: Request, _error: Exception) -> Response:
    # Nobody reads it; the log shows it.
    return Response(status_code=499)
