# Generated from _async/transport.py by tools/generate_sync.py: change it there.
"""One server's HTTP connections: pooled, reused, and the only place that does I/O on them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from .._body import Body, FileBody, IteratorBody
from .._config import Endpoint
from .._errors import ConnectionFailed, ProtocolError, RequestTimeout
from .._http1 import BodyDecoder, Head, parse_head
from .._net import SEND_CHUNK, Stream, each_chunk, sleep

_CONNECT_TIMEOUT = 10.0
_BUFFER_MIN = 64 * 1024
_BUFFER_MAX = 1024 * 1024
_IDLE_CONNECTIONS = 128
_IDLE_SECONDS = 30.0
_FILE_WINDOW = 8 * 1024 * 1024
_RETRY_DELAYS = (0.1, 0.3, 1.0)
_RETRY_STATUS = (502, 503)


@dataclass(slots=True)
class Request:
    """One request, its fixed part prepared beforehand.

    Attributes:
        method: In capitals.
        target: Path and query, percent-encoded.
        headers: A rendered block, Host included.
        body: What to send, or None.
        timeout: Seconds that the other side may be silent; None waits for ever.
        safe: Whether sending it twice does no harm, so that it may be tried again.
        switch: Whether it asks to change to another protocol.
    """

    method: str
    target: str
    headers: bytes
    body: Body | None = None
    timeout: float | None = 60.0
    safe: bool = False
    switch: bool = False

    def head(self) -> bytes:
        """The bytes in front of the body."""
        start = f"{self.method} {self.target} HTTP/1.1\r\n".encode("ascii")
        if self.body is None:
            length = b"content-length: 0\r\n" if self.method in ("POST", "PUT", "PATCH") else b""
        elif isinstance(self.body, IteratorBody):
            length = b"transfer-encoding: chunked\r\n"
        elif isinstance(self.body, FileBody):
            length = b"content-length: %d\r\n" % self.body.size
        else:
            length = b"content-length: %d\r\n" % len(self.body)
        return b"".join((start, self.headers, length, b"\r\n"))


@dataclass(frozen=True, slots=True)
class Reply:
    """A response read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One connection, carrying one request at a time."""

    def __init__(self, stream: Stream | Stream) -> None:
        self.stream = stream
        self.idle_since = 0.0
        self._buffer = bytearray(_BUFFER_MIN)
        self._rest = memoryview(b"")

    def send(self, request: Request) -> None:
        """Send a whole request."""
        head, body = request.head(), request.body
        if isinstance(body, bytes) and len(body) <= _BUFFER_MIN:
            self.stream.send(head + body, request.timeout)
            return
        self.stream.send(head, request.timeout)
        if isinstance(body, FileBody):
            self._send_file(body, request.timeout)
        elif isinstance(body, IteratorBody):
            self._send_chunks(body, request.timeout)
        elif body:
            view = memoryview(body)
            for start in range(0, len(view), SEND_CHUNK):
                self.stream.send(view[start : start + SEND_CHUNK], request.timeout)

    def _send_file(self, body: FileBody, timeout: float | None) -> None:
        sent = 0
        while sent < body.size:
            window = min(_FILE_WINDOW, body.size - sent)
            count = self.stream.send_file(body.file, body.start + sent, window, timeout)
            if count == 0:
                raise ProtocolError("the file became shorter while it was sent")
            sent += count
            body.report(sent)

    def _send_chunks(self, body: IteratorBody, timeout: float | None) -> None:
        sent = 0
        for piece in each_chunk(body.source):
            if piece:
                framed = b"".join((b"%x\r\n" % len(piece), piece, b"\r\n"))
                self.stream.send(framed, timeout)
                sent += len(piece)
                body.report(sent)
        self.stream.send(b"0\r\n\r\n", timeout)

    def receive_head(self, timeout: float | None, switch: bool = False) -> Head:
        """Wait for the final response's head; what follows it is kept.

        Args:
            timeout: Seconds that the other side may be silent.
            switch: Whether a change of protocol was asked for, and so is final too.
        """
        received = b""
        while True:
            parsed = parse_head(received)
            if parsed is None:
                size = self.stream.receive_into(self._buffer, timeout)
                if size == 0:
                    raise ConnectionResetError("the server closed the connection")
                received += self._buffer[:size]
                continue
            head, length = parsed
            received = received[length:]
            # 1xx heads announce nothing we asked for; 101 would change the protocol.
            if head.status >= 200 or (head.status == 101 and switch):
                self._rest = memoryview(received)
                return head
            if head.status == 101:
                raise ProtocolError("the server changed the protocol unasked")

    def receive(self, timeout: float | None) -> memoryview:
        """Wait for more of the body; empty is the end. Valid until the next call."""
        if self._rest:
            rest, self._rest = self._rest, memoryview(b"")
            return rest
        size = self.stream.receive_into(self._buffer, timeout)
        data = memoryview(self._buffer)[:size]
        if size == len(self._buffer) < _BUFFER_MAX:
            # A full buffer means bulk data: fewer, larger reads. The view keeps the old one.
            self._buffer = bytearray(2 * size)
        return data

    def rested(self) -> Connection:
        """This connection, made small again for the pool."""
        if len(self._buffer) > _BUFFER_MIN:
            self._buffer = bytearray(_BUFFER_MIN)
        self.idle_since = time.monotonic()
        return self


class Response:
    """A response whose body is still coming.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
    """

    def __init__(
        self, transport: Transport, connection: Connection, head: Head, request: Request
    ) -> None:
        self.status = head.status
        self.headers: Mapping[str, str] = head.headers
        self._reusable = head.reusable
        self._transport = transport
        self._connection: Connection | None = connection
        self._decoder = BodyDecoder(head, request.method)
        self._pieces: deque[memoryview] = deque()
        self._timeout = request.timeout
        if self._decoder.done:
            self._finish()

    def receive(self) -> memoryview:
        """The next piece of the body; empty is its end. Valid until the next call.

        Raises:
            ConnectionFailed: The connection broke before the end.
            RequestTimeout: Nothing came in time.
        """
        while not self._pieces:
            connection = self._connection
            if connection is None:
                return memoryview(b"")
            try:
                data = connection.receive(self._timeout)
                if data:
                    self._pieces.extend(self._decoder.decode(data))
                else:
                    self._reusable = False
                    self._decoder.end()
            except TimeoutError:
                self.close()
                raise RequestTimeout(f"the server sent nothing for {self._timeout} s") from None
            except OSError as error:
                self.close()
                raise ConnectionFailed(f"the connection broke: {error}") from error
            except BaseException:
                self.close()
                raise
            if self._decoder.done:
                self._finish()
        return self._pieces.popleft()

    def read(self, limit: int) -> bytes:
        """The rest of the body.

        Raises:
            ProtocolError: It is longer than `limit` bytes.
        """
        body = bytearray()
        while piece := self.receive():
            body += piece
            if len(body) > limit:
                self.close()
                raise ProtocolError(f"the answer is longer than {limit} bytes")
        return bytes(body)

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            if self._reusable and not self._decoder.surplus:
                self._transport.give_back(connection)
            else:
                connection.stream.close()

    def detach(self) -> Connection:
        """The connection itself, for who goes on in another protocol.

        Raises:
            ProtocolError: The answer is over, and with it the connection.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            raise ProtocolError("the server ended an answer that should have gone on")
        return connection

    def close(self) -> None:
        """Give up the rest of the body, and the connection with it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.stream.close()


class Transport:
    """The connections to one server. Safe to share between tasks, and threads in blocking code."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        # deque's append and pop are atomic, so threads need no lock here.
        self._idle: deque[Connection] = deque()

    def open(self, request: Request) -> Response:
        """Send a request and wait for the head of its response.

        Raises:
            ConnectionFailed: The server can't be reached, or broke the connection.
            RequestTimeout: It did not answer in time.
        """
        connection = self._acquire()
        try:
            try:
                connection.send(request)
            except (BrokenPipeError, ConnectionResetError):
                # A server that refuses an upload answers, then closes: its answer says why.
                head = connection.receive_head(request.timeout, request.switch)
                head.reusable = False
            else:
                head = connection.receive_head(request.timeout, request.switch)
            return Response(self, connection, head, request)
        except TimeoutError:
            connection.stream.close()
            raise RequestTimeout(
                f"no answer from {self.endpoint.url} within {request.timeout} s"
            ) from None
        except OSError as error:
            connection.stream.close()
            raise ConnectionFailed(
                f"the connection to {self.endpoint.url} broke: {error}"
            ) from error
        except BaseException:
            connection.stream.close()
            raise

    def fetch(self, request: Request, limit: int = 64 * 1024 * 1024) -> Reply:
        """Send a request and read the whole response, again after a passing failure if it is safe.

        Args:
            request: What to ask.
            limit: The longest body to take, in bytes.
        """
        delays = iter(_RETRY_DELAYS if request.safe else ())
        while True:
            delay = next(delays, None)
            try:
                response = self.open(request)
                reply = Reply(response.status, response.headers, response.read(limit))
                if delay is None or reply.status not in _RETRY_STATUS:
                    return reply
            except ConnectionFailed:
                if delay is None:
                    raise
            sleep(delay)

    def _acquire(self) -> Connection:
        oldest = time.monotonic() - _IDLE_SECONDS
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if connection.idle_since >= oldest and connection.stream.usable():
                return connection
            connection.stream.close()
        try:
            return Connection(Stream.connect(self.endpoint, _CONNECT_TIMEOUT))
        except TimeoutError:
            raise RequestTimeout(
                f"no connection to {self.endpoint.url} within {_CONNECT_TIMEOUT} s"
            ) from None
        except (OSError, UnicodeError) as error:
            raise ConnectionFailed(
                f"can't reach a Wardian server at {self.endpoint.url}: {error}",
                hint="start one with `wardian serve`, or set WARDIAN_URL",
            ) from error

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        self._idle.append(connection.rested())
        while len(self._idle) > _IDLE_CONNECTIONS:
            try:
                self._idle.popleft().stream.close()
            except IndexError:
                break

    def close(self) -> None:
        """Close the idle connections; ones in use are not touched."""
        while True:
            try:
                self._idle.pop().stream.close()
            except IndexError:
                return
