"""A real gRPC server whose calls say back what they are sent, with metadata behind."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from .authority import Authority

AFTER: Final = ("x-after", "the end")


@dataclass(slots=True)
class Echo:
    """The server.

    ``Once`` answers with the request (``fail``: with a status instead), ``Many`` with as many
    answers as the request says (a negative number: that many less one, and then a status), ``Both``
    with each message as it comes.

    Attributes:
        address: Host and port.
        called: Method, and the metadata that came with it.
    """

    address: str = ""
    called: list[tuple[str, dict[str, str]]] = field(
        default_factory=list[tuple[str, dict[str, str]]]
    )

    def once(self, request: bytes, context: Any) -> bytes:
        """Unary."""
        self._begin("Once", context)
        if request == b"fail":
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you: é")
        return request

    def many(self, request: bytes, context: Any) -> Iterator[bytes]:
        """A stream of the server's."""
        self._begin("Many", context)
        for number in range(abs(int(request))):
            yield str(number).encode()
        if int(request) < 0:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")

    def both(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Streams both ways."""
        self._begin("Both", context)
        for request in requests:
            yield request.upper()

    def _begin(self, method: str, context: Any) -> None:
        self.called.append((method, dict(context.invocation_metadata())))
        context.set_trailing_metadata((AFTER,))


@contextlib.contextmanager
def grpc_echo(authority: Authority, name: str) -> Generator[Echo]:
    """Runs one on loopback that shows a certificate for ``name``."""
    echo = Echo()
    methods = {
        "Once": grpc.unary_unary_rpc_method_handler(echo.once),
        "Many": grpc.unary_stream_rpc_method_handler(echo.many),
        "Both": grpc.stream_stream_rpc_method_handler(echo.both),
    }
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))
    end = b"-----END CERTIFICATE-----\n"
    certificate, _, key = authority.issue(name).partition(end)
    credentials = grpc.ssl_server_credentials([(key, certificate + end)])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    echo.address = f"127.0.0.1:{port}"
    try:
        yield echo
    finally:
        server.stop(None).wait()
