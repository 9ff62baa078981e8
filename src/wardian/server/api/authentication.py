"""Who calls, and whether they may."""

from __future__ import annotations

from starlette.requests import Request

from wardian.server.errors import Forbidden, InvalidRequest, Unauthorized
from wardian.server.keys.keyring import Keyring
from wardian.server.keys.model import ApiKey, Scope

_HOW = "send Authorization: Bearer <key> or X-API-Key: <key>"


def presented_key(request: Request) -> str:
    """The text of the key a request brings.

    Raises:
        Unauthorized: it brings none.
        InvalidRequest: it brings two that differ.
    """
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    found = {text for text in (request.headers.get("x-api-key"),) if text}
    if scheme.lower() == "bearer" and bearer.strip():
        found.add(bearer.strip())
    if not found:
        raise Unauthorized("no API key", _HOW)
    if len(found) > 1:
        raise InvalidRequest("Authorization and X-API-Key hold different keys", "send one of them")
    return found.pop()


async def authorise(request: Request, keyring: Keyring, scopes: tuple[Scope, ...]) -> ApiKey:
    """The caller's key, which has one of ``scopes``.

    Raises:
        Unauthorized: no key, or one that is not known.
        Forbidden: it has none of the scopes.
    """
    key = await keyring.authenticate(presented_key(request))
    if not key.may(*scopes):
        needed = " or ".join(dict.fromkeys((*scopes, "admin")))
        raise Forbidden(f"this key lacks the scope {needed}", "use another key")
    return key
