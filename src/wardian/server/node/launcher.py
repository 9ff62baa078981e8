"""Client of the launcher: bounded waits, typed errors, and unmoved by the launcher's restarts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from wardian.server.errors import NoCapacity, NoSpace, Unavailable, WardianError
from wardian.server.node import layer_import, protocol
from wardian.server.node.protocol import FailureCode

log = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=msgspec.Struct)

_FIRST_DELAY = 0.02
_LONGEST_DELAY = 0.5


class LauncherUnreachable(Unavailable):
    """The request was never sent: nobody takes connections."""


class LauncherLost(Unavailable):
    """The request was sent and no answer came: whether it was done is not known."""


class LauncherFailure(WardianError):
    """The launcher refused or failed; nothing has changed.

    Args:
        failure: the launcher's own code.
        message: what failed, on which object.
    """

    def __init__(self, failure: FailureCode, message: str) -> None:
        super().__init__(message)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Watching:
    """From here on no event is missed; what happened before must be asked for."""


@dataclass(frozen=True, slots=True)
class WatchLost:
    """The launcher is gone; what happens now is not seen."""


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def usable(self) -> bool:
        return not (self._reader.at_eof() or self._writer.is_closing())

    async def exchange(self, frame: bytes) -> protocol.Reply:
        self._writer.write(frame)
        return protocol.decode_reply(await self.body())

    async def body(self) -> bytes:
        header = await self._reader.readexactly(protocol.HEADER)
        return await self._reader.readexactly(protocol.body_length(header))

    def close(self) -> None:
        self._writer.close()


# What a broken or confused peer looks like.
_BROKEN = (OSError, EOFError, msgspec.MsgspecError, ValueError)


class LauncherClient:
    """A bounded pool of connections to the launcher.

    Args:
        socket: path of ``launcher.sock``.
        connections: the most open at once; more calls wait for their turn.
        patience: seconds a call waits for a launcher that takes no connections.
    """

    def __init__(self, socket: Path, connections: int = 32, patience: float = 5) -> None:
        self._socket = socket
        self._turns = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._patience = patience

    async def hello(self) -> protocol.HelloValue:
        """What the launcher and its machine can do."""
        return await self._repeat(protocol.Hello(), protocol.HelloValue, 3)

    async def create(self, create: protocol.Create) -> int:
        """Makes a sandbox; returns the host pid of its agent.

        Raises:
            NoSpace: the pool is full.
            NoCapacity: all uid slots are taken.
            LauncherFailure: anything else the launcher says.
            LauncherLost: whether it was made is not known: kill it before trying again.
        """
        return (await self._ask(create, protocol.CreatedValue, 20)).pid

    async def kill(self, sandbox: str) -> protocol.KilledValue:
        """Ends a sandbox and removes all it had; no error when it is not there."""
        return await self._repeat(protocol.Kill(sandbox), protocol.KilledValue, 20)

    async def list(self) -> list[protocol.SandboxStatus]:
        """Every sandbox the launcher knows, also ended ones that were not killed yet."""
        return (await self._repeat(protocol.List(), protocol.SandboxesValue, 10)).sandboxes

    async def usage(self, sandbox: str) -> protocol.Usage:
        """What a running sandbox uses now."""
        request = protocol.GetUsage(sandbox)
        return (await self._repeat(request, protocol.UsageValue, 5)).usage()

    async def freeze(self, sandbox: str) -> None:
        """Stops all its processes where they are."""
        await self._repeat(protocol.Freeze(sandbox), protocol.DoneValue, 10)

    async def thaw(self, sandbox: str) -> None:
        """Lets them go on."""
        await self._repeat(protocol.Thaw(sandbox), protocol.DoneValue, 10)

    async def import_layer(
        self, layer: str, descriptor: int, deadline: float = 1800
    ) -> protocol.LayerValue:
        """Unpacks an uncompressed tar as a layer; all or nothing.

        Args:
            layer: its id, 64 lower-case hexadecimal digits.
            descriptor: read by the launcher until its end; stays the caller's to close.
            deadline: seconds.
        """
        request = protocol.ImportLayer(layer)
        try:
            body = await layer_import.send(self._socket, request, descriptor, deadline)
            reply = protocol.decode_reply(body)
        except _BROKEN as error:
            raise LauncherLost(f"the launcher did not answer for layer {layer}") from error
        return _value(reply, protocol.LayerValue)

    async def remove_layer(self, layer: str) -> None:
        """Removes a layer; :class:`LauncherFailure` ``in_use`` while a sandbox uses it."""
        await self._repeat(protocol.RemoveLayer(layer), protocol.DoneValue, 60)

    async def list_layers(self) -> list[str]:
        """All layers."""
        return (await self._repeat(protocol.ListLayers(), protocol.LayersValue, 10)).layers

    async def watch(self) -> AsyncGenerator[Watching | WatchLost | protocol.EndedEvent]:
        """What happens without being asked for, without end.

        Each (re)connection begins with :class:`Watching`: what happened before it is not told.
        """
        delay = _FIRST_DELAY
        while True:
            connection: _Connection | None = None
            try:
                connection = await self._open()
                async with asyncio.timeout(5):
                    reply = await connection.exchange(protocol.encode_frame(protocol.Watch()))
                _value(reply, protocol.DoneValue)
                delay = _FIRST_DELAY
                yield Watching()
                while True:
                    yield protocol.decode_event(await connection.body())
            except (*_BROKEN, WardianError) as error:
                log.debug("launcher watch interrupted", extra={"cause": repr(error)})
            finally:
                if connection is not None:
                    connection.close()
            yield WatchLost()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    def close(self) -> None:
        """Closes idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _repeat(self, request: Any, answer: type[Answer], deadline: float) -> Answer:
        # Asking twice does no harm, so a launcher that restarts meanwhile is not noticed.
        try:
            return await self._ask(request, answer, deadline)
        except LauncherLost:
            return await self._ask(request, answer, deadline)

    async def _ask(self, request: Any, answer: type[Answer], deadline: float) -> Answer:
        frame = protocol.encode_frame(request)
        sent = False
        try:
            async with asyncio.timeout(deadline), self._turns:
                async with asyncio.timeout(self._patience):
                    connection = await self._connected()
                sent = True
                try:
                    reply = await connection.exchange(frame)
                except BaseException:
                    # A late answer on it would be taken for the next one's.
                    connection.close()
                    raise
                self._idle.append(connection)
        except _BROKEN as error:
            name = type(request).__name__.lower()
            if sent:
                raise LauncherLost(f"the launcher did not answer to {name}") from error
            raise LauncherUnreachable(
                f"the launcher could not be asked to {name}", "is it running? see wardian doctor"
            ) from error
        return _value(reply, answer)

    async def _connected(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.close()
        delay = _FIRST_DELAY
        while True:
            # Restarting takes the launcher some milliseconds; the caller bounds this wait.
            with contextlib.suppress(OSError):
                return await self._open()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)

    async def _open(self) -> _Connection:
        return _Connection(*await asyncio.open_unix_connection(self._socket))


def _value(reply: protocol.Reply, answer: type[Answer]) -> Answer:
    if reply.error is not None:
        match reply.error.code:
            case "no_space":
                raise NoSpace(reply.error.message, "end sandboxes or give the pool more room")
            case "no_capacity":
                raise NoCapacity(reply.error.message, "end sandboxes first")
            case code:
                raise LauncherFailure(code, reply.error.message)
    if not isinstance(reply.ok, answer):
        raise LauncherLost(
            f"the launcher answered {type(reply.ok).__name__}, not {answer.__name__}"
        )
    return reply.ok
