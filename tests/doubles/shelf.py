"""An HTTPS server of fixed pages for those who bring the right ``Authorization``.

It stands for a private registry or a paid API: what it is asked, it keeps.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from integration.waiting import until

from .authority import Authority

_WAIT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Page:
    """What is under a path.

    Args:
        kind: its content type.
        pieces: its body; more than one are sent as chunks.
        awaits: a path that must have been asked for before the second piece is sent.
    """

    kind: str
    pieces: tuple[bytes, ...]
    awaits: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    host: str
    path: str
    authorization: str
    agent: str
    body: bytes = field(repr=False)


class Shelf(ThreadingHTTPServer):
    """The server, on loopback.

    Args:
        authority: signs its certificate for whatever name it is asked by.
        wanted: the values of ``Authorization`` that it knows.
    """

    daemon_threads = True
    #: Shells and package managers open several connections at once.
    request_queue_size = 128

    def __init__(self, authority: Authority, wanted: set[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Requests)
        self.wanted = wanted
        self.pages: dict[str, Page] = {}
        self.asked: list[Asked] = []
        self.refused: list[Asked] = []
        context = authority.context("shelf.example", http2=False)

        def choose(secured: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: object) -> None:
            if name is not None:
                secured.context = authority.context(name, http2=False)

        context.sni_callback = choose
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def put(self, path: str, kind: str, *pieces: bytes, awaits: str | None = None) -> None:
        """Puts a page under a path."""
        self.pages[path] = Page(kind, pieces, awaits)

    def has_been_asked(self, path: str) -> bool:
        """Whether somebody with the right words has asked for a path."""
        return any(each.path == path for each in self.asked)


class _Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _WAIT
    server: Shelf  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        said = {name: self.headers.get(name, "") for name in ("host", "authorization")}
        asked = Asked(
            self.command, said["host"], self.path, said["authorization"],
            self.headers.get("user-agent", ""), body,
        )  # fmt: skip
        if asked.authorization not in self.server.wanted:
            self.server.refused.append(asked)
            return self._answer(401, Page("text/plain", (b"who are you?",)))
        self.server.asked.append(asked)
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            return self._answer(404, Page("text/plain", (b"no such page",)))
        return self._answer(200, page)

    do_POST = do_GET

    def _answer(self, status: int, page: Page) -> None:
        self.send_response(status)
        self.send_header("content-type", page.kind)
        if status == 401:
            self.send_header("www-authenticate", 'Basic realm="shelf"')
        chunked = len(page.pieces) > 1
        framing = ("transfer-encoding", "chunked")
        self.send_header(
            *(framing if chunked else ("content-length", str(sum(map(len, page.pieces)))))
        )
        self.end_headers()
        for number, piece in enumerate(page.pieces):
            if number == 1 and (awaited := page.awaits) is not None:
                until(lambda: self.server.has_been_asked(awaited), f"a request for {awaited}")
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def shelf(authority: Authority, wanted: set[str]) -> Generator[Shelf]:
    """Runs one."""
    with Shelf(authority, wanted) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
