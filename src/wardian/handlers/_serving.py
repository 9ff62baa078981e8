"""Connections of the edge, and the process around them."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import signal
import socket
from pathlib import Path
from typing import cast

import msgspec

from wardian.handlers import _frames, _loading
from wardian.handlers._exchange import Exchange
from wardian.handlers._frames import FrameError, Kind
from wardian.handlers._loading import Loaded

log = logging.getLogger("wardian.handlers")

# How often it is looked whether a file has changed, in seconds.
_LOOK_EVERY = 0.25
# What exchanges under way get once the process is told to stop, in seconds.
_GRACE = 1.5
_MAX_EXCHANGES = 1024


class Server:
    """Serves what one directory holds.

    Args:
        directory: of the handlers.
        stuck_after: seconds after which a handler that never waits, so that nothing else runs,
            ends the process; the supervisor starts another.
    """

    def __init__(self, directory: Path, stuck_after: float) -> None:
        self.directory = directory
        self._stuck_after = stuck_after
        self.loaded = Loaded()
        self.tasks: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        self._loads = 0

    async def serve(self, listener: socket.socket) -> None:
        """Serves until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        stamp = _loading.stamp(self.directory)
        self._take(_loading.load(self.directory, self.loaded, self._loads))
        async with asyncio.TaskGroup() as group:
            self.group = group
            server = await loop.create_unix_server(lambda: Connection(self), sock=listener)
            watching = group.create_task(self._watch(stamp))
            beating = group.create_task(self._beat())
            log.info("handlers are up", extra={"path": str(self.directory)})
            await stop.wait()
            log.info("stopping")
            server.close()
            watching.cancel()
            if self.tasks:
                await asyncio.wait(self.tasks, timeout=_GRACE)
            beating.cancel()
            for connection in list(self._connections):
                connection.close()
        log.info("stopped")

    async def _beat(self) -> None:
        try:
            while True:
                # Not a thread of Python's: what holds up all others may hold the interpreter's
                # lock. It says on standard error where each thread was.
                faulthandler.dump_traceback_later(self._stuck_after, exit=True)
                await asyncio.sleep(self._stuck_after / 16)
        finally:
            faulthandler.cancel_dump_traceback_later()

    async def _watch(self, stamp: object) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            now = _loading.stamp(self.directory)
            if now != stamp:
                stamp = now
                self._loads += 1
                # In a thread: what a file does while it is imported holds nobody up.
                self._take(
                    await asyncio.to_thread(_loading.load, self.directory, self.loaded, self._loads)
                )

    def _take(self, loaded: Loaded) -> None:
        self.loaded = loaded
        extra = {"handlers": sorted(loaded.handlers), "path": str(self.directory)}
        log.info("handlers loaded", extra=extra)

    def join(self, connection: Connection) -> None:
        """Counts a connection in."""
        self._connections.add(connection)

    def leave(self, connection: Connection) -> None:
        """Forgets it."""
        self._connections.discard(connection)

    def start(self, exchange: Exchange, name: str) -> asyncio.Task[None] | None:
        """Runs the handler ``name``, or says why not."""
        function = self.loaded.handlers.get(name, "there is no handler of this name")
        if isinstance(function, str):
            log.error(function, extra={"handler": name})
            exchange.refuse(function)
        elif len(self.tasks) >= _MAX_EXCHANGES:
            exchange.refuse("too many requests are with handlers")
        else:
            task = self.group.create_task(exchange.run(function))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return task
        return None


class Connection(asyncio.Protocol):
    """One connection of the edge: exchanges one after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        # uvloop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        self._server.join(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio: the sandbox or the edge is gone, so the handler may stop."""
        self._server.leave(self)
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        # Reading never stops: what may come is bounded by the credit given.
        self._buffer += data
        try:
            while len(self._buffer) >= _frames.HEADER:
                kind, length = _frames.read_header(self._buffer)
                end = _frames.HEADER + length
                if len(self._buffer) < end:
                    break
                payload = bytes(self._buffer[_frames.HEADER : end])
                del self._buffer[:end]
                self._hear(kind, payload)
        except (FrameError, msgspec.MsgspecError) as error:
            log.error("the edge was not understood", extra={"cause": str(error)})
            self.close()

    def close(self) -> None:
        """Hangs up, and ends the exchange."""
        if self._transport is not None:
            self._transport.close()
        if self._task is not None:
            self._task.cancel()

    def _hear(self, kind: Kind, payload: bytes) -> None:
        exchange = self._exchange
        running = exchange is not None and not exchange.over
        if kind is Kind.REQUEST:
            if running:
                raise FrameError("a request while another is under way")
            head = _frames.decode_request(payload)
            self._exchange = Exchange(head, self._write)
            self._task = self._server.start(self._exchange, head.handler)
        elif exchange is not None and running:
            exchange.hear(kind, payload)

    def _write(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)
