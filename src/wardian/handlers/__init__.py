"""Handlers: Python that answers or edits the requests of sandboxes, on the operator's side.

    from wardian.handlers import Request, Response, Sandbox, handler

    @handler("team")
    async def team(request: Request, sandbox: Sandbox) -> Request | Response:
        request.headers["X-Team"] = sandbox.labels.get("team", "none")
        return request

A rule of an egress policy names the handler; ``docs/guides/handlers.md`` shows the rest.
"""

from wardian.handlers._declaring import Refuse, handler
from wardian.handlers._headers import Headers
from wardian.handlers._messages import (
    BodyTooLong,
    Request,
    Response,
    Sandbox,
    UpstreamFailed,
)
from wardian.handlers._state import state_directory

__all__ = [
    "BodyTooLong",
    "Headers",
    "Refuse",
    "Request",
    "Response",
    "Sandbox",
    "UpstreamFailed",
    "handler",
    "state_directory",
]
