"""What lies behind handlers: an HTTPS server that streams when it is told to, and keeps what came.

| request | answer |
|---|---|
| `POST /v1/chat/completions` | server-sent events, each after :attr:`Upstream.go_on` |
| `PUT …` | length and hash of the body |
| `GET …` with an upgrade | what comes then, back |
| any other | method, path and headers, as JSON |
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from doubles.authority import Authority
from doubles.https import HttpsServer

WORDS = ("Once", " upon", " a", " time", ".")
PROMPT_TOKENS = 7
TOKENS = PROMPT_TOKENS + len(WORDS)
#: Of one stream: the words, what they cost, the end.
EVENTS = len(WORDS) + 2
#: Only keeps a failure from hanging.
_PATIENCE = 20.0


@dataclass(slots=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    #: Of a stream: how many events have been sent.
    sent: int = 0


@dataclass(slots=True)
class Upstream:
    """The server, for whatever name it is asked."""

    address: str
    certificate: Path
    requests: list[Seen] = field(default_factory=list[Seen])
    _permits: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def go_on(self) -> None:
        """Lets one more event of a stream go."""
        self._permits.release()

    def may_go_on(self) -> bool:
        """Waits for :meth:`go_on`; false where nobody wants more."""
        return self._permits.acquire(timeout=_PATIENCE)


class _Server(HttpsServer):
    upstream: Upstream


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def _begin(self) -> Seen:
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers)
        self.server.upstream.requests.append(seen)
        return seen

    def do_GET(self) -> None:
        seen = self._begin()
        if "upgrade" in seen.headers:
            return self._repeat()
        return self._answer({"method": seen.method, "path": seen.path, "headers": seen.headers})

    def _repeat(self) -> None:
        """What comes behind an upgrade, as it is: nobody in between may look at it."""
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while piece := self.connection.recv(65536):
            self.connection.sendall(piece)

    def do_PUT(self) -> None:
        self._begin()
        digest, length = hashlib.sha256(), 0
        for piece in self._body():
            digest.update(piece)
            length += len(piece)
        self._answer({"length": length, "sha256": digest.hexdigest()})

    def do_POST(self) -> None:
        seen = self._begin()
        if not self.path.startswith("/v1/chat/completions"):
            for _ in self._body():
                pass
            return self._answer({"path": seen.path})
        for _ in self._body():
            pass
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in _events():
            if not self.server.upstream.may_go_on():
                return None
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            seen.sent += 1
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            left = int(self.headers.get("Content-Length", 0))
            while left > 0 and (piece := self.rfile.read(min(left, 65536))):
                left -= len(piece)
                yield piece
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, said: Any) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def _events() -> Iterator[bytes]:
    """An answer as language models stream it."""
    for word in WORDS:
        yield b"data: %b\n\n" % json.dumps({"choices": [{"delta": {"content": word}}]}).encode()
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": len(WORDS)}
    yield b"data: %b\n\n" % json.dumps({"choices": [], "usage": usage}).encode()
    yield b"data: [DONE]\n\n"


@contextmanager
def running(directory: Path, name: str) -> Generator[Upstream]:
    """Serves on loopback with certificates for ``name`` and all one label below it."""
    authority = Authority.new(directory / "authority")
    certificate = directory / "authority.pem"
    certificate.write_text(authority.pem)
    with _Server(_Requests, authority.context(f"*.{name}", http2=False)) as server:
        server.upstream = Upstream(server.address, certificate)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.upstream
        server.shutdown()
