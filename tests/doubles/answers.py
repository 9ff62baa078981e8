"""What the server doubles answer: the request repeated as JSON, unless its path asks for more.

| path | answer |
|---|---|
| `/redirect?to=URL` | 302 to it |
| `/bytes/N` | N bytes |
| `/reflect?header=NAME&as=WAY` | that header's value, in one of the ways of `_reflect` |
| `/events` | three server-sent events |
| `/websocket` | every message back |
| `/cut` | half an answer, then the connection ends |
| `/hang` | nothing |
| `/raw?b64=` | these bytes |
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from .record import Request


@dataclass(slots=True)
class Answer:
    """A status, headers, and the body in the pieces in which it is sent.

    Args:
        chunked: each piece is sent as a chunk (HTTP/2: a frame) of its own.
        cut: the connection ends after the pieces although more was promised.
        hang: nothing is said at all.
        raw: instead of everything else, these bytes.
    """

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    pieces: list[bytes] = field(default_factory=list[bytes])
    chunked: bool = False
    cut: bool = False
    hang: bool = False
    raw: bytes | None = None


def to(request: Request) -> Answer:
    """The answer to a request."""
    address = urlsplit(request.target)
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    kind, _, rest = address.path.lstrip("/").partition("/")
    if kind == "redirect":
        return Answer(302, [("location", query["to"])])
    if kind == "bytes" and rest.isdecimal():
        return Answer(pieces=[b"x" * 65536] * (int(rest) // 65536) + [b"x" * (int(rest) % 65536)])
    if kind == "reflect":
        return _reflect(request, query)
    if kind == "events":
        events = [f"id: {n}\ndata: event {n}\n\n".encode() for n in range(3)]
        return Answer(headers=[("content-type", "text/event-stream")], pieces=events, chunked=True)
    if kind == "cut":
        return Answer(pieces=[b"half of it"], cut=True)
    if kind == "hang":
        return Answer(hang=True)
    if kind == "raw":
        return Answer(raw=base64.b64decode(query["b64"]))
    return _echo(request)


def _echo(request: Request) -> Answer:
    told = {
        "version": request.version,
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": base64.b64encode(request.body).decode(),
        "address": request.arrival.address,
        "port": request.arrival.port,
        "server_name": request.arrival.server_name,
        "trailers": request.trailers,
    }
    body = json.dumps(told).encode()
    return Answer(headers=[("content-type", "application/json")], pieces=[body])


def _reflect(request: Request, query: dict[str, str]) -> Answer:
    value = " ".join(request.all(query["header"]))
    shown = f"before {value} after".encode("latin-1")
    match query.get("as", "body"):
        case "header":
            return Answer(headers=[("x-reflected", value)], pieces=[b"see the header"])
        case "cookie":
            return Answer(headers=[("set-cookie", f"seen={value}; Path=/")], pieces=[b"see it"])
        case "location":
            return Answer(302, [("location", f"https://other.example/?{value}")])
        case "name":
            return Answer(headers=[(value.rpartition(" ")[2], "x")], pieces=[b"see the name"])
        case "error":
            return Answer(500, pieces=[shown])
        case "reason":
            return _whole(f"HTTP/1.1 200 {value}\r\ncontent-length: 2\r\n\r\nok")
        case "early":
            early = f"HTTP/1.1 103 Early\r\nlink: <{value}>\r\n\r\n"
            return _whole(f"{early}HTTP/1.1 200 Done\r\ncontent-length: 2\r\n\r\nok")
        case "trailer":
            head = "HTTP/1.1 200 Done\r\ntransfer-encoding: chunked\r\ntrailer: x-seen\r\n\r\n"
            return _whole(f"{head}2\r\nok\r\n0\r\nx-seen: {value}\r\n\r\n")
        case "extension":
            head = "HTTP/1.1 200 Done\r\ntransfer-encoding: chunked\r\n\r\n"
            return _whole(f'{head}2;seen="{value}"\r\nok\r\n0\r\n\r\n')
        case "chunks":
            third = len(shown) // 3
            return Answer(
                pieces=[shown[:third], shown[third : 2 * third], shown[2 * third :]], chunked=True
            )
        case "trickle":
            return Answer(pieces=[bytes([byte]) for byte in shown], chunked=True)
        case "gzip":
            return Answer(headers=[("content-encoding", "gzip")], pieces=[gzip.compress(shown)])
        case _:
            return Answer(pieces=[shown])


def _whole(text: str) -> Answer:
    return Answer(raw=text.encode("latin-1"))
