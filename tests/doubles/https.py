"""The least HTTPS server: each connection in a thread of its own, its handshake too."""

from __future__ import annotations

import contextlib
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpsServer(ThreadingHTTPServer):
    """Serves on loopback, on a port of the kernel's choice."""

    daemon_threads = True

    def __init__(self, requests: type[BaseHTTPRequestHandler], context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), requests)
        self._context = context

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread. Whoever breaks off is no news here."""
        with contextlib.suppress(OSError):
            stream = self._context.wrap_socket(request, server_side=True)
            super().finish_request(stream, client_address)
