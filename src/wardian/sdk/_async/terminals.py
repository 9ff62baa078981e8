"""Terminals: programs one attaches to and detaches from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from urllib.parse import quote

import msgspec

from .._errors import ConnectionFailed, ProtocolError, SandboxError, TerminalExists
from .._terminal import MAX_SIZE, Notice, TerminalInfo, TerminalList
from .._websocket import Opcode
from .agent import AsyncAgent
from .placeholders import AsyncPlaceholders, Environment
from .websocket import AsyncWebSocket

# Keys are sent in pieces of this size: the agent takes no message above 1 MiB.
_PIECE = 256 * 1024
_NORMAL = 1000


class AsyncTerminal:
    """A program in a terminal of a sandbox, with this as one of its screens and keyboards.

    It lives on when this is closed or its connection breaks; `Sandbox.terminal(name)` attaches
    again, and gets first what brings an empty screen to where the others are. Leaving `with`
    detaches.

    Attributes:
        name: What one attaches to it by.
        exit_code: Once its end has been received; 128 + n where signal n ended it.
        signal: The signal that ended it, such as `SIGHUP`.
    """

    def __init__(self, agent: AsyncAgent, socket: AsyncWebSocket, name: str) -> None:
        self._agent = agent
        self._socket = socket
        self._closed = False
        self.name = name
        self.exit_code: int | None = None
        self.signal: str | None = None

    async def send(self, data: bytes | str) -> None:
        """Type: keys, as a terminal sends them; text as UTF-8. `"\\x03"` is Ctrl-C.

        Raises:
            ConnectionFailed: The connection broke, or this is closed.
        """
        raw = data.encode() if isinstance(data, str) else data
        for start in range(0, len(raw), _PIECE):
            await self._socket.send(Opcode.BINARY, raw[start : start + _PIECE])

    async def resize(self, cols: int, rows: int) -> None:
        """Set its size, for all who are attached.

        Args:
            cols: How wide, in characters, 1 to 4096.
            rows: How high, in lines, 1 to 4096.
        """
        if not (0 < cols <= MAX_SIZE and 0 < rows <= MAX_SIZE):
            raise ValueError(f"a terminal can't have {cols} columns and {rows} rows")
        message = {"type": "resize", "cols": cols, "rows": rows}
        await self._socket.send(Opcode.TEXT, msgspec.json.encode(message))

    async def receive(self, timeout: float | None = None) -> bytes:
        """Output as it comes; empty is the end, and `exit_code` then says which.

        Args:
            timeout: Seconds to wait for it; None is as long as it takes.

        Raises:
            RequestTimeout: Nothing came in time.
            ConnectionFailed: The connection broke; attach again to see what is missing.
        """
        while not self._closed:
            message = await self._socket.receive(timeout)
            if message.opcode is Opcode.BINARY:
                if message.data:
                    return message.data
            elif message.opcode is Opcode.CLOSE:
                self._closed = True
                await self._socket.close()
                if self.exit_code is None and message.code != _NORMAL:
                    reason = message.data.decode() or f"code {message.code}"
                    raise ConnectionFailed(f"the agent closed terminal '{self.name}': {reason}")
            else:
                self._take(message.data)
        return b""

    def _take(self, text: bytes) -> None:
        try:
            notice = msgspec.json.decode(text, type=Notice)
        except msgspec.DecodeError as error:
            raise ProtocolError(f"a terminal said something unexpected: {error}") from error
        if notice.type == "exit":
            self.exit_code, self.signal = notice.code, notice.signal
        elif notice.type == "error":
            raise SandboxError(
                f"terminal '{self.name}': {notice.message}",
                sandbox_id=self._agent.sandbox_id,
                code="terminal_error",
            )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Output as it comes, until the program ends."""
        while data := await self.receive():
            yield data

    async def wait(self) -> int:
        """Wait until the program ends, whatever it shows; its exit code.

        Raises:
            ConnectionFailed: The connection broke, or this was closed, before the end.
        """
        while await self.receive():
            pass
        if self.exit_code is None:
            raise ConnectionFailed(f"detached from terminal '{self.name}' before its end")
        return self.exit_code

    async def info(self) -> TerminalInfo:
        """Ask for its record."""
        return await self._agent.rest("GET", _path(self.name), TerminalInfo)

    async def close(self) -> None:
        """Detach; the program runs on."""
        self._closed = True
        await self._socket.close()

    async def kill(self) -> None:
        """Hang up on the program, kill what stays, forget the terminal, and detach."""
        await _kill(self._agent, self.name)
        await self.close()

    async def __aenter__(self) -> AsyncTerminal:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self._agent.sandbox_id}>"


def _path(name: str) -> str:
    return f"terminals/{quote(name, safe='')}"


async def _kill(agent: AsyncAgent, name: str) -> None:
    await agent.rest("DELETE", _path(name), type(None))


class AsyncTerminals:
    """What a sandbox can do with terminals."""

    _placeholders: AsyncPlaceholders

    def _reach(self) -> AsyncAgent:
        """The agent, or an error that says why there is none."""
        raise NotImplementedError

    async def terminal(
        self,
        name: str | None = None,
        argv: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        user: str | None = None,
        cols: int = 80,
        rows: int = 24,
        create: bool = True,
    ) -> AsyncTerminal:
        """Attach to a terminal, made first where there is none of that name, or it has ended.

        Args:
            name: What others attach to it by; made up if not given.
            argv: The program and its arguments; the user's shell if not given.
            cwd: Where it starts.
            env: More variables for it; `Secret(NAME)` is its placeholder.
            user: Who runs it; the sandbox's default if not given.
            cols: How wide it is, in characters; of one that is there too.
            rows: How high it is, in lines; of one that is there too.
            create: Whether it is made; if not, one that has ended tells its last output and end.

        Raises:
            TerminalNotFound: There is none, and `create` is false.
            NoCapacity: The sandbox has as many terminals as it can have.
            InvalidRequest: An argument can't be used.
        """
        agent = self._reach()
        if create:
            variables = await self._placeholders.in_place(env)
            given = {"name": name, "argv": argv, "cwd": cwd, "env": variables, "user": user}
            message = {key: value for key, value in given.items() if value is not None}
            message |= {"cols": cols, "rows": rows}
            try:
                made = await agent.rest("POST", "terminals", TerminalInfo, message=message)
                name = made.name
            except TerminalExists:
                # Only one with a name can be there already, and that one is wanted.
                pass
        if name is None:
            raise ValueError("which terminal? without create it needs a name")
        # One that ends before this call still tells its output and end.
        query = {"create": "false", "cols": str(cols), "rows": str(rows)}
        socket = await agent.websocket(_path(name), query=query)
        return AsyncTerminal(agent, socket, name)

    async def terminals(self) -> list[TerminalInfo]:
        """Its terminals, those that ended less than ten minutes ago too."""
        return (await self._reach().rest("GET", "terminals", TerminalList)).terminals

    async def kill_terminal(self, name: str) -> None:
        """Hang up on a terminal's program, kill what stays, and forget the terminal.

        Raises:
            TerminalNotFound: There is none of that name.
        """
        await _kill(self._reach(), name)
