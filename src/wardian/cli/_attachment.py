"""Our terminal attached to one in a sandbox: keys there, output here, until either ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from wardian import (
    AsyncSandbox,
    AsyncTerminal,
    ConnectionFailed,
    SandboxGone,
    TerminalNotFound,
    Unavailable,
)

from . import _tty
from ._failures import OWN_FAILURE, Failure, printable

_STDIN, _STDOUT = 0, 1
_KEYS = 64 * 1024
_WAITING = 16
# Between attempts to attach again, in seconds; the last for ever.
_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class _Detached(Exception):
    """Somebody has typed the keys for it."""


@dataclass
class Attachment:
    """One terminal of a sandbox on our screen.

    Args:
        sandbox: Whose it is.
        open: Attaches for the first time, given columns and lines.
    """

    sandbox: AsyncSandbox
    open: Callable[[int, int], Awaitable[AsyncTerminal]]
    terminal: AsyncTerminal | None = None
    _name: str = ""
    _keys: _tty.DetachKeys = field(default_factory=_tty.DetachKeys)
    _connected: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int | None:
        """Show it until it ends; its exit code, None if somebody detached.

        Raises:
            Failure: A signal ended this program, or the sandbox is gone.
        """
        self.terminal = await self.open(*_tty.size(_STDOUT))
        self._name = self.terminal.name
        self._connected.set()
        screen = _tty.Screen(_STDOUT)
        # Before anything is shown: who sees something may already act on it.
        with _signals() as signals, _tty.raw(_STDIN), _Typed() as typed:
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = (
                        group.create_task(self._pass_keys_on(typed)),
                        group.create_task(self._follow_size(signals)),
                        group.create_task(_told_to_end(signals)),
                    )
                    code = await self._show(screen)
                    for task in tasks:
                        task.cancel()
                return code
            except ExceptionGroup as group:
                reason = _first(group)
                if isinstance(reason, _Detached):
                    return None
                raise reason from None
            finally:
                screen.restore()
                await self.terminal.close()

    async def _show(self, screen: _tty.Screen) -> int:
        while True:
            assert self.terminal is not None
            try:
                async for data in self.terminal:
                    screen.show(data)
                return await self.terminal.wait()
            except ConnectionFailed as error:
                self._connected.clear()
                self._say(f"connection lost ({error}); attaching again, Enter ~ . gives up")
                self.terminal = await self._again()
                self._connected.set()

    async def _again(self) -> AsyncTerminal:
        attempts = 0
        while True:
            await asyncio.sleep(_DELAYS[min(attempts, len(_DELAYS) - 1)])
            attempts += 1
            cols, rows = _tty.size(_STDOUT)
            try:
                return await self.sandbox.terminal(self._name, cols=cols, rows=rows, create=False)
            except (ConnectionFailed, Unavailable):
                continue
            except (TerminalNotFound, SandboxGone) as error:
                message = f"{error}; what ran there is gone"
                raise Failure(message, error.hint, OWN_FAILURE) from error

    async def _pass_keys_on(self, typed: _Typed) -> None:
        """Read keys, always, so that one can detach without a connection; send them with one."""
        waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(waiting))
            while True:
                keys, detached = self._keys.feed(await typed.read())
                if detached:
                    raise _Detached
                # What was typed into the void is not sent later: nobody saw what it would do.
                if keys and self._connected.is_set():
                    await waiting.put(keys)

    async def _send(self, waiting: asyncio.Queue[bytes]) -> None:
        while True:
            keys = await waiting.get()
            try:
                assert self.terminal is not None
                await self.terminal.send(keys)
            except ConnectionFailed:
                # Who shows the output finds it out as well, and attaches again.
                continue

    async def _follow_size(self, signals: _Signals) -> None:
        while True:
            await signals.resized.wait()
            signals.resized.clear()
            await self._connected.wait()
            try:
                assert self.terminal is not None
                await self.terminal.resize(*_tty.size(_STDOUT))
            except ConnectionFailed:
                # The next connection begins with the size.
                continue

    def _say(self, text: str) -> None:
        # In raw mode a new line is no new line alone.
        sys.stderr.write(f"\r\n[wardian: {printable(text)}]\r\n")
        sys.stderr.flush()


def _first(error: Exception) -> Exception:
    """Why a task group ended: what was raised first."""
    while isinstance(error, ExceptionGroup):
        error = cast(Any, error).exceptions[0]
    return error


class _Typed:
    """Keys as they are typed, while one is in this context.

    Not with asyncio's pipes: they make the descriptor non-blocking, and it is the shell's too. So
    it is read when it is known to be readable, and only then.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self._ended = False

    def __enter__(self) -> _Typed:
        self._loop.add_reader(_STDIN, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.remove_reader(_STDIN)

    def _take(self) -> None:
        try:
            data = os.read(_STDIN, _KEYS)
        except OSError:
            # The terminal is gone.
            data = b""
        self._ended = not data
        self._pieces.put_nowait(data)
        if self._ended or self._pieces.qsize() >= _WAITING:
            # What a paste has more than this stays where it is until there is room.
            self._loop.remove_reader(_STDIN)

    async def read(self) -> bytes:
        """What was typed.

        Raises:
            _Detached: There is nobody to type any more.
        """
        data = await self._pieces.get()
        if not data:
            raise _Detached
        if not self._ended:
            self._loop.add_reader(_STDIN, self._take)
        return data


class _Signals:
    """What signals have said so far."""

    def __init__(self) -> None:
        self.resized = asyncio.Event()
        self.told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def tell(self, number: int) -> None:
        """One that ends programs has come."""
        if not self.told.done():
            self.told.set_result(number)


@contextmanager
def _signals() -> Generator[_Signals]:
    """Takes note of signals instead of ending with them."""
    loop, signals = asyncio.get_running_loop(), _Signals()
    loop.add_signal_handler(signal.SIGWINCH, signals.resized.set)
    for number in _ENDING:
        loop.add_signal_handler(number, signals.tell, int(number))
    try:
        yield signals
    finally:
        for number in (*_ENDING, signal.SIGWINCH):
            loop.remove_signal_handler(number)


async def _told_to_end(signals: _Signals) -> None:
    """Turns a signal that ends programs into an end in good order."""
    number = await signals.told
    raise Failure("stopped by a signal", exit_code=128 + number)
