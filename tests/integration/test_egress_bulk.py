"""Much data through connections that the edge opens: all of it arrives, and none of it is held."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from doubles.authority import Authority
from doubles.https import HttpsServer

from wardian import Egress, Header, Sandbox, Secrets

from .host import begin_peak, peak_bytes
from .waiting import until

HOST = "bulk.team.example"
NAME = "BULK_TOKEN"
SIZE = 512 * 1024 * 1024
_PIECE = bytes(1024 * 1024)
#: What a peak may grow by, in bytes: windows and buffers of a few connections.
ROOM = 32 * 1024 * 1024


class _Server(HttpsServer):
    #: Bytes of the body that was read last.
    received = 0


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self._head(SIZE)
        for _ in range(SIZE // len(_PIECE)):
            self.wfile.write(_PIECE)

    def do_PUT(self) -> None:
        left = int(self.headers["content-length"])
        self.server.received = 0
        while left and (piece := self.rfile.read(min(left, len(_PIECE)))):
            left -= len(piece)
            self.server.received += len(piece)
        self._head(0)

    def _head(self, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def upstream(authority: Authority) -> Iterator[_Server]:
    """The server outside."""
    with _Server(_Requests, authority.context(HOST, http2=False)) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def sandbox(node: Any, upstream: _Server) -> Iterator[Sandbox]:
    """A sandbox that reaches it with a token it does not have."""
    Secrets().set(NAME, "of-the-bulk-0123456789", hosts=HOST)
    egress = Egress().allow(
        HOST, connect_to=upstream.address,
        inject=Header("Authorization", f"Bearer {{{NAME}}}"),
    )  # fmt: skip
    with Sandbox.create("base", egress=egress, timeout=600) as made:
        yield made


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_half_a_gigabyte_each_way_is_never_held(
    node: Any, sandbox: Sandbox, upstream: _Server, protocol: str
) -> None:
    before = begin_peak(node.edge_pid())
    curl = f"curl -sS --fail {protocol} https://{HOST}"
    down = sandbox.run(f"{curl}/down | wc -c", check=True, timeout=100).stdout
    assert int(down) == SIZE
    # A sparse file, so that the length is told and nothing is written for it.
    up = f"truncate -s {SIZE} /tmp/sparse && {curl}/up -H Expect: -T /tmp/sparse"
    sandbox.run(up, check=True, timeout=100)
    assert upstream.received == SIZE
    assert peak_bytes(node.edge_pid()) - before < ROOM


def test_readers_that_stop_are_not_read_for(node: Any, sandbox: Sandbox) -> None:
    """Backpressure reaches the server: what nobody takes stays there."""
    before = begin_peak(node.edge_pid())
    # `sleep` holds the pipe open and never reads it.
    stopped = f"for n in $(seq 20); do curl -sS --fail https://{HOST}/down | sleep 300 & done; wait"
    with sandbox.spawn(stopped, stdin=False) as reading:
        until(lambda: sandbox.run("pgrep -c curl", timeout=20).stdout == "20\n", "the clients")
        sandbox.run(f"curl -sS --fail https://{HOST}/down | wc -c", check=True, timeout=100)
        assert peak_bytes(node.edge_pid()) - before < 2 * ROOM
        reading.kill()
