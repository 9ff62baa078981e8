"""A terminal's WebSocket as another program would open it: by hand, with `websockets`."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from wardian import Sandbox
from wardian.sdk._websocket import new_key

PATIENCE = 60


def headers(sandbox: Sandbox) -> dict[str, str]:
    """What leads a request to the agent of `sandbox`."""
    agent = sandbox.info().agent
    assert agent is not None
    return {
        "Wardian-Sandbox-Id": sandbox.id,
        "Wardian-Sandbox-Port": str(agent.port),
        "X-Access-Token": agent.token,
    }


@contextmanager
def attached(node: Any, sandbox: Sandbox, name: str, query: str = "") -> Iterator[ClientConnection]:
    """A client of the terminal `name`."""
    url = f"{node.url.replace('http', 'ws', 1)}/v1/terminals/{name}?{query}"
    with connect(
        url, additional_headers=headers(sandbox), proxy=None, max_size=None, open_timeout=PATIENCE
    ) as socket:
        yield socket


def notice(client: ClientConnection) -> dict[str, Any]:
    """The next text frame; output before it is left out."""
    while True:
        message = client.recv(PATIENCE)
        if isinstance(message, str):
            found: dict[str, Any] = json.loads(message)
            return found


def until(client: ClientConnection, wanted: bytes, seen: bytes = b"") -> bytes:
    """All output up to where `wanted` has been seen."""
    while wanted not in seen:
        message = client.recv(PATIENCE)
        if isinstance(message, bytes):
            seen += message
    return seen


def close_code(client: ClientConnection) -> int:
    """The code that the server closes with; what comes before is left out."""
    try:
        while True:
            client.recv(PATIENCE)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, "the connection ended without a close"
        return closed.rcvd.code


@contextmanager
def raw(node: Any, sandbox: Sandbox, name: str) -> Iterator[socket.socket]:
    """The connection itself behind a handshake, for frames that no library sends."""
    host, port = node.url.removeprefix("http://").split(":")
    lines = [
        f"GET /v1/terminals/{name} HTTP/1.1",
        f"Host: {host}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {new_key()}",
        *(f"{key}: {value}" for key, value in headers(sandbox).items()),
    ]
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b" 101 " in head.split(b"\r\n")[0], head
        yield connection


def raw_close_code(connection: socket.socket) -> int:
    """The code of the close that the server sends, on a connection as `raw` gives."""
    received = b""
    while data := connection.recv(65536):
        received += data
    # A close is the last frame: FIN and opcode 8, its length, the code.
    at = received.rindex(b"\x88")
    return int.from_bytes(received[at + 2 : at + 4], "big")
