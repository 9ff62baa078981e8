"""Rules and secrets that change under connections that are open: none of them is dropped."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from doubles.authority import Authority
from doubles.https import HttpsServer

from wardian import Egress, Header, Sandbox, Secrets

HOST, ECHO = "kept.team.example", "echo.team.example"
NAME = "KEPT_TOKEN"
PROGRAM = (Path(__file__).parent / "programs" / "kept_connection.py").read_text()


class _Says(BaseHTTPRequestHandler):
    """Answers with the token it was asked with."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.headers.get("authorization", "nobody").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class _Repeats(socketserver.StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


def _address(server: socketserver.TCPServer) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


@pytest.fixture(scope="module")
def upstream(authority: Authority) -> Iterator[dict[str, str]]:
    """The addresses of both servers outside, by their names."""
    with (
        HttpsServer(_Says, authority.context(HOST, http2=False)) as says,
        socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Repeats) as repeats,
    ):
        repeats.daemon_threads = True
        for server in (says, repeats):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield {HOST: _address(says), ECHO: _address(repeats)}
        for server in (says, repeats):
            server.shutdown()


def _rules(upstream: dict[str, str], **more: Any) -> Egress:
    token = Header("Authorization", f"Bearer {{{NAME}}}")
    return (
        Egress()
        .allow(HOST, name="kept", connect_to=upstream[HOST], inject=token, **more)
        .allow(ECHO, name="echo", connect_to=upstream[ECHO], ports=7)
    )


def test_open_connections_outlive_changes_and_the_next_request_obeys_them(
    node: Any, upstream: dict[str, str]
) -> None:
    secrets = Secrets()
    secrets.set(NAME, "first-0123456789", hosts=HOST)
    with (
        Sandbox.create("base", egress=_rules(upstream), timeout=600) as sandbox,
        sandbox.spawn(["python3", "-c", PROGRAM, HOST], stdin=True) as client,
    ):
        lines = iter(client)
        assert next(lines).text == "ready\n"

        def ask() -> list[str]:
            client.stdin.write("go\n")
            return next(lines).text.strip().split(" ", 2)

        port, status, body = ask()
        assert (status, body) == ("200", "Bearer first-0123456789")
        secrets.set(NAME, "second-0123456789", hosts=HOST)
        good = [port, "200", "Bearer second-0123456789"]
        assert ask() == good
        for _ in range(5):
            sandbox.egress.set(_rules(upstream, methods="GET"))
            assert ask() == good
        sandbox.egress.set(_rules(upstream, path="/elsewhere/**"))
        refused = ask()
        assert refused[:2] == [port, "403"] and "egress_denied" in refused[2]
        sandbox.egress.set(_rules(upstream))
        assert ask() == good
        client.kill()


def test_what_passes_unopened_goes_on_too(node: Any, upstream: dict[str, str]) -> None:
    Secrets().set(NAME, "first-0123456789", hosts=HOST)
    program = (
        "import socket, sys\n"
        f"s = socket.create_connection(('{ECHO}', 7)); f = s.makefile('rwb', 0)\n"
        "for line in sys.stdin.buffer: f.write(line); print(f.readline().decode(), end='')\n"
    )
    with (
        Sandbox.create("base", egress=_rules(upstream), timeout=600) as sandbox,
        sandbox.spawn(["python3", "-uc", program], stdin=True) as client,
    ):
        lines = iter(client)
        for number in range(5):
            client.stdin.write(f"{number}\n")
            assert next(lines).text == f"{number}\n"
            sandbox.egress.set(_rules(upstream, methods=["GET", "HEAD"][: 1 + number % 2]))
        client.kill()
