"""The few things that differ between blocking and asyncio code, in pairs.

All else is written once, in `_async/`, and generated for the blocking half. Plain sockets are used
without asyncio's transports: `recv_into` reaches the caller's buffer without a copy, and a
connection left idle holds nothing of the event loop that made it.
"""

from __future__ import annotations

import asyncio
import inspect
import select
import socket
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, TypeVar

if TYPE_CHECKING:
    import ssl

    from ._config import Endpoint

T = TypeVar("T")

Turn = threading.Lock
AsyncTurn = asyncio.Lock

SEND_CHUNK = 1024 * 1024
# Reads that never had to wait before the event loop gets a turn for its other tasks.
_READS_PER_TURN = 32


def _readable(sock: socket.socket) -> bool:
    """Whether anything, also the end, has arrived: on an idle connection it may not."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])


_tls_context: ssl.SSLContext | None = None


def _tls() -> ssl.SSLContext:
    global _tls_context
    if _tls_context is None:
        import ssl

        # Honours SSL_CERT_FILE and SSL_CERT_DIR.
        _tls_context = ssl.create_default_context()
        _tls_context.set_alpn_protocols(["http/1.1"])
    return _tls_context


class Stream:
    """A blocking connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._timeout: float | None = None
        sock.settimeout(None)

    @classmethod
    def connect(cls, endpoint: Endpoint, timeout: float) -> Stream:
        """Connect, with TLS where the endpoint asks for it."""
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.tls:
                sock = _tls().wrap_socket(sock, server_hostname=endpoint.host)
            return cls(sock)
        except BaseException:
            sock.close()
            raise

    def _within(self, timeout: float | None) -> None:
        # Each settimeout is a system call or two, so only on change.
        if timeout != self._timeout:
            self._socket.settimeout(timeout)
            self._timeout = timeout

    def receive_into(self, buffer: bytearray, timeout: float | None) -> int:
        """Wait for bytes; 0 is the end. `timeout` in seconds."""
        self._within(timeout)
        return self._socket.recv_into(buffer)

    def send(self, data: bytes | memoryview, timeout: float | None) -> None:
        """Send all of `data`; `timeout` in seconds for the whole."""
        self._within(timeout)
        self._socket.sendall(data)

    def send_file(self, file: BinaryIO, offset: int, count: int, timeout: float | None) -> int:
        """Send a piece of a file, in the kernel where possible; returns the bytes sent."""
        self._within(timeout)
        return self._socket.sendfile(file, offset, count)

    def usable(self) -> bool:
        """Whether an idle connection may carry another request."""
        return not _readable(self._socket)

    def close(self) -> None:
        """Close at once. A thread that waits for it is woken, which closing alone would not do."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class AsyncStream:
    """A connection of the running event loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._reads = 0

    @classmethod
    async def connect(cls, endpoint: Endpoint, timeout: float) -> AsyncStream | AsyncTlsStream:
        """Connect, with TLS where the endpoint asks for it."""
        async with asyncio.timeout(timeout):
            if endpoint.tls:
                return await AsyncTlsStream.open(endpoint)
            loop = asyncio.get_running_loop()
            addresses = await loop.getaddrinfo(
                endpoint.host, endpoint.port, type=socket.SOCK_STREAM
            )
            failure: OSError = OSError("the name has no address")
            for family, kind, protocol, _, address in addresses:
                sock = socket.socket(family, kind, protocol)
                try:
                    sock.setblocking(False)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    await loop.sock_connect(sock, address)
                    return cls(sock)
                except OSError as error:
                    sock.close()
                    failure = error
                except BaseException:
                    sock.close()
                    raise
            raise failure

    async def receive_into(self, buffer: bytearray, timeout: float | None) -> int:
        """Wait for bytes; 0 is the end. `timeout` in seconds."""
        self._reads += 1
        if self._reads % _READS_PER_TURN == 0:
            await asyncio.sleep(0)
        try:
            # The loop's sock_recv_into tries this first too, but a timeout would be armed by then.
            return self._socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            pass
        async with asyncio.timeout(timeout):
            return await self._loop.sock_recv_into(self._socket, buffer)

    async def send(self, data: bytes | memoryview, timeout: float | None) -> None:
        """Send all of `data`; `timeout` in seconds for the whole."""
        async with asyncio.timeout(timeout):
            await self._loop.sock_sendall(self._socket, data)

    async def send_file(
        self, file: BinaryIO, offset: int, count: int, timeout: float | None
    ) -> int:
        """Send a piece of a file, in the kernel where possible; returns the bytes sent."""
        async with asyncio.timeout(timeout):
            return await self._loop.sock_sendfile(self._socket, file, offset, count)

    def usable(self) -> bool:
        """Whether an idle connection may carry another request, from the running loop."""
        return self._loop is asyncio.get_running_loop() and not _readable(self._socket)

    def close(self) -> None:
        """Close at once."""
        self._socket.close()


class AsyncTlsStream:
    """A TLS connection of the running event loop: here asyncio's streams do the work."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()

    @classmethod
    async def open(cls, endpoint: Endpoint) -> AsyncTlsStream:
        """Connect and shake hands."""
        reader, writer = await asyncio.open_connection(
            endpoint.host, endpoint.port, ssl=_tls(), limit=SEND_CHUNK
        )
        return cls(reader, writer)

    async def receive_into(self, buffer: bytearray, timeout: float | None) -> int:
        """Wait for bytes; 0 is the end. `timeout` in seconds."""
        async with asyncio.timeout(timeout):
            data = await self._reader.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    async def send(self, data: bytes | memoryview, timeout: float | None) -> None:
        """Send all of `data`; `timeout` in seconds for the whole."""
        self._writer.write(data)
        async with asyncio.timeout(timeout):
            await self._writer.drain()

    async def send_file(
        self, file: BinaryIO, offset: int, count: int, timeout: float | None
    ) -> int:
        """Send a piece of a file; returns the bytes sent."""
        file.seek(offset)
        data = file.read(min(count, SEND_CHUNK))
        await self.send(data, timeout)
        return len(data)

    def usable(self) -> bool:
        """Whether an idle connection may carry another request, from the running loop."""
        return self._loop is asyncio.get_running_loop() and not self._reader.at_eof()

    def close(self) -> None:
        """Close at once."""
        if not self._loop.is_closed():
            self._writer.transport.abort()


def sleep(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


async def async_sleep(seconds: float) -> None:
    """Wait."""
    await asyncio.sleep(seconds)


def each_chunk(source: Iterable[bytes] | AsyncIterable[bytes]) -> Iterator[bytes]:
    """The pieces of a caller's iterable."""
    if isinstance(source, AsyncIterable):
        raise TypeError("an asynchronous iterable can only be sent by AsyncSandbox")
    yield from source


async def async_each_chunk(source: Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The pieces of a caller's iterable of either kind."""
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
    else:
        for piece in source:
            yield piece


def deliver(callback: Callable[[T], object], value: T) -> None:
    """Hand something to a caller's function."""
    callback(value)


async def async_deliver(callback: Callable[[T], object], value: T) -> None:
    """Hand something to a caller's function, which may be a coroutine function."""
    result = callback(value)
    if inspect.isawaitable(result):
        await result


def alongside(side: Callable[[], object], main: Callable[[], T]) -> T:
    """Do `main` in this thread while another does `side`; give what `main` gives.

    A failure of `side` counts only if `main` had none.
    """
    failures: list[Exception] = []

    def guarded() -> None:
        try:
            side()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    outcome = main()
    thread.join()
    if failures:
        raise failures[0]
    return outcome


async def async_alongside(
    side: Callable[[], Awaitable[object]], main: Callable[[], Awaitable[T]]
) -> T:
    """Do `main` while another task does `side`, which ends with it; give what `main` gives.

    A failure of `side` counts only if `main` had none.
    """
    failures: list[Exception] = []
    outcomes: list[T] = []

    async def guarded() -> None:
        try:
            await side()
        except Exception as error:
            failures.append(error)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(guarded())
        try:
            outcomes.append(await main())
        except Exception as error:
            failures.insert(0, error)
        task.cancel()
    if failures:
        raise failures[0]
    return outcomes[0]
