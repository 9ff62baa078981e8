"""How a registry wants to be asked: ``WWW-Authenticate`` and what answers it."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from wardian.server.errors import Forbidden, Unavailable

_CHALLENGE: Final = re.compile(r"\s*([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)
_PARAMETER: Final = re.compile(r'([A-Za-z_]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))\s*(?:,\s*|$)')
_LARGEST_ANSWER: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge: its scheme in lower case and its parameters."""

    scheme: str
    parameters: dict[str, str]


class _Token(Struct, frozen=True):
    token: str | None = None
    access_token: str | None = None


def parse_challenge(header: str) -> Challenge | None:
    """Reads a ``WWW-Authenticate`` header; ``None`` when it makes no sense."""
    match = _CHALLENGE.fullmatch(header[:4096])
    if match is None:
        return None
    parameters = {
        found[1].lower(): found[2] if found[2] is not None else found[3]
        for found in _PARAMETER.finditer(match[2] or "")
    }
    return Challenge(match[1].lower(), parameters)


def basic(username: str, password: str) -> str:
    """The ``Authorization`` header of a login by name and password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


async def authorization(
    session: aiohttp.ClientSession,
    challenge: Challenge | None,
    *,
    registry: str,
    repository: str,
    login: str | None,
    secure: bool,
) -> str:
    """The ``Authorization`` header that answers ``challenge``.

    Args:
        session: to fetch a token with.
        challenge: what the registry said.
        registry: for messages.
        repository: what is to be read.
        login: what :func:`basic` made of the caller's login, if there is one.
        secure: the registry speaks TLS, so a token is fetched by TLS only.

    Raises:
        Forbidden: the registry wants a login and has none, or refuses the one it has.
        Unavailable: its token service does not answer.
    """
    scheme = "" if challenge is None else challenge.scheme
    if scheme == "basic" and login is not None:
        return login
    if challenge is None or scheme != "bearer":
        raise Forbidden(
            f"registry {registry} wants a login for {repository}", "give username and password"
        )
    realm = challenge.parameters.get("realm", "")
    if urlsplit(realm).scheme not in (("https",) if secure else ("https", "http")):
        raise Forbidden(f"registry {registry} names a token service that is not secure")
    query = {"scope": f"repository:{repository}:pull"}
    if "service" in challenge.parameters:
        query["service"] = challenge.parameters["service"]
    headers = {} if login is None else {"Authorization": login}
    try:
        async with session.get(
            realm, params=query, headers=headers, allow_redirects=False
        ) as answer:
            if answer.status in (401, 403):
                raise Forbidden(
                    f"registry {registry} refuses {repository} to this login",
                    "check username and password",
                )
            if answer.status != 200:
                raise Unavailable(f"the token service of {registry} answered {answer.status}")
            data = await answer.content.read(_LARGEST_ANSWER)
            while len(data) < _LARGEST_ANSWER and not answer.content.at_eof():
                data += await answer.content.read(_LARGEST_ANSWER - len(data))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Unavailable(f"the token service of {registry} does not answer") from error
    try:
        found = msgspec.json.decode(data, type=_Token)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unavailable(f"the token service of {registry} gave no token") from error
    token = found.token or found.access_token
    if not token or not re.fullmatch(r"[!-~]+", token):
        raise Unavailable(f"the token service of {registry} gave no token")
    return f"Bearer {token}"
