"""GitHub for one organisation: its repositories through API and git, and nothing else.

    Egress().allow(
        "api.github.com", "github.com",
        handler=Handler("github", organisation="acme", write=False),
        inject=Basic("x-access-token", "{GITHUB_TOKEN}"),
    )

Paths in a rule could say as much for the API, but not the same for git, nor that reading is all:
git reads with POST. What is not known to be right is refused.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote, urlsplit

from wardian.handlers import Refuse, Request, Sandbox, handler

GIT = {"git-upload-pack": "read", "git-receive-pack": "write"}
REPOSITORY = re.compile(r"[A-Za-z0-9._-]+")


@handler("github")
async def github(request: Request, sandbox: Sandbox) -> Request:
    """Parameters: ``organisation``, whose repositories; ``write``: whether they may be changed."""
    organisation = request.parameters["organisation"]
    address = urlsplit(request.url)
    words = plain(address.path)
    if address.hostname == "api.github.com":
        owner, wants = of_api(request.method, words)
    else:
        owner, wants = of_git(request.method, words, address.query)
    if owner.lower() != organisation.lower():
        raise Refuse(403, f"only repositories of {organisation} are reached from here")
    # From a command line it is a word.
    if wants == "write" and request.parameters.get("write") not in (True, "true"):
        raise Refuse(403, f"repositories of {organisation} can only be read from here")
    return request


def plain(path: str) -> list[str]:
    """The segments of a path that can be read in one way only."""
    segments = path.split("/")[1:]
    for segment in segments:
        word = unquote(segment)
        if word in ("", ".", "..") or any(sign in word for sign in "/\\%\0"):
            raise Refuse(403, "a path like this is not let through")
    return segments


def of_api(method: str, words: list[str]) -> tuple[str, str]:
    """Whose repository an API request is for, and whether it reads or writes."""
    match words:
        case ["repos", owner, name, *_] if REPOSITORY.fullmatch(name):
            pass
        case ["orgs", owner, "repos"] if method == "GET":
            pass
        case _:
            raise Refuse(403, "only /repos/… and the list of an organisation's are let through")
    return owner, "read" if method in ("GET", "HEAD") else "write"


def of_git(method: str, words: list[str], query: str) -> tuple[str, str]:
    """The same of git's requests over HTTP."""
    match method, words:
        case "GET", [owner, name, "info", "refs"] if REPOSITORY.fullmatch(name):
            service = parse_qs(query).get("service", [])
        case "POST", [owner, name, service] if REPOSITORY.fullmatch(name):
            service = [service]
        case _:
            raise Refuse(403, "only git itself is let through")
    if len(service) != 1 or service[0] not in GIT:
        raise Refuse(403, "only git itself is let through")
    return owner, GIT[service[0]]
