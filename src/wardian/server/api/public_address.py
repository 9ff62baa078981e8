"""How callers reach this node, as the edge saw it: it replaces what they claim themselves."""

from __future__ import annotations

from starlette.requests import Request


def scheme(request: Request) -> str:
    """``http`` or ``https``."""
    return request.headers.get("x-forwarded-proto", request.url.scheme)


def host(request: Request) -> str:
    """The host, with the port where there was one."""
    headers = request.headers
    return headers.get("x-forwarded-host") or headers.get("host", "localhost")


def port_suffix(request: Request) -> str:
    """``:port`` as the caller wrote it; empty where it is the scheme's own."""
    # An IPv6 address has colons of its own, within brackets.
    _, separator, port = host(request).rpartition("]")[2].rpartition(":")
    return f":{port}" if separator and port.isdigit() else ""
