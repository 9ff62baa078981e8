"""Sessions: shells whose directory, variables and functions persist from command to command."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from urllib.parse import quote

from .._net import async_alongside
from .._process import OUTPUT_LIMIT, Command, CommandResult
from .._session import SessionInfo, SessionList
from .._session_errors import SessionExists, SessionNotFound
from . import processes
from .agent import AsyncAgent
from .placeholders import AsyncPlaceholders, Environment
from .processes import AsyncProcess, TextCallback


class AsyncSession:
    """A shell (bash) that goes on from command to command, whoever gives them.

    Directory, variables, functions, aliases, options and traps persist; background jobs run on,
    but `jobs` and `wait` of the next command do not know them, and open descriptors end with their
    command. Commands run one after another, in the order they were given. One that is killed or
    times out leaves the session as it was before. Leaving `with` closes it.

    Attributes:
        name: What it is found by again.
    """

    def __init__(self, agent: AsyncAgent, placeholders: AsyncPlaceholders, name: str) -> None:
        self._agent = agent
        self._placeholders = placeholders
        self.name = name

    async def run(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        timeout: float | None = None,
        on_stdout: TextCallback | None = None,
        on_stderr: TextCallback | None = None,
        stdin: str | bytes | None = None,
        check: bool = False,
        output_limit: int = OUTPUT_LIMIT,
    ) -> CommandResult:
        """Run a command line when its turn comes, and wait for its end.

        Args:
            command: What the shell reads; a list is quoted for it.
            cwd: Where this command runs; the session stays where it is.
            env: Variables of this command alone; `Secret(NAME)` is its placeholder.
            timeout: Seconds after which it is stopped, with every process it started; waiting for
                its turn does not count.
            on_stdout: Called with standard output as it comes.
            on_stderr: The same for standard error.
            stdin: What it reads from standard input; nothing if not given.
            check: Raise for an exit code other than 0.
            output_limit: Bytes kept of each output; callbacks get all.

        Raises:
            SessionEnded: The session's shell has ended before.
            SessionNotFound: The session was closed.
            SessionDirectoryGone: Its directory can't be entered any more.
            SessionNotKept: The command ended, but what it did to the session was too large to keep.
            CommandFailed: `check` is set and the exit code is not 0.
            CommandTimeout: Its time was up; the error holds the output so far.
        """
        process = await self.spawn(
            command,
            cwd=cwd,
            env=env,
            timeout=timeout,
            stdin=stdin is not None,
            output_limit=output_limit,
        )
        if stdin is None:
            return await process.wait(on_stdout, on_stderr, check)
        # At the same time: a command that answers while it reads would else wait for us for ever.
        return await async_alongside(
            lambda: process.feed(stdin), lambda: process.wait(on_stdout, on_stderr, check)
        )

    async def spawn(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        timeout: float | None = None,
        stdin: bool = True,
        output_limit: int = OUTPUT_LIMIT,
    ) -> AsyncProcess:
        """Start a command line when its turn comes and return while it runs; the arguments are
        those of `run`. Its signals go to the session's shell, SIGKILL to its whole tree.

        `stdin` says whether input will be sent: if not, the command reads the end at once.
        """
        return await processes.start(
            self._agent,
            command,
            shell_memory=("", ""),
            cwd=cwd,
            env=await self._placeholders.in_place(env),
            timeout=timeout,
            stdin=stdin,
            output_limit=output_limit,
            session=self.name,
        )

    async def info(self) -> SessionInfo:
        """Ask where it is and what it does.

        Raises:
            SessionNotFound: It was closed.
        """
        return await self._agent.rest("GET", f"sessions/{quote(self.name, safe='')}", SessionInfo)

    async def close(self) -> None:
        """Forget it; its running command is killed. Closing a closed one is no error."""
        try:
            await self._agent.rest("DELETE", f"sessions/{quote(self.name, safe='')}", type(None))
        except SessionNotFound:
            return

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class AsyncSessions:
    """What a sandbox can do with sessions."""

    _placeholders: AsyncPlaceholders

    def _reach(self) -> AsyncAgent:
        """The agent, or an error that says why there is none."""
        raise NotImplementedError

    async def session(
        self,
        name: str | None = None,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        user: str | None = None,
        create_only: bool = False,
    ) -> AsyncSession:
        """The session of that name, made if there is none; without a name, a new one.

        Args:
            name: `a-z`, `0-9` and `-`, at most 63 characters.
            cwd: Where it begins; one that is there stays where it is.
            env: Variables it begins with; one that is there keeps its own.
            user: Who its commands run as; one that is there keeps its own.
            create_only: Refuse a name that is there.

        Raises:
            SessionExists: `create_only` is set and the name is there.
            Unsupported: The sandbox has no bash.
            Conflict: It has 256 sessions.
            InvalidRequest: The name, directory or user can't be used.
        """
        asked: dict[str, Any] = {"name": name, "cwd": cwd, "user": user}
        message = {key: value for key, value in asked.items() if value is not None}
        message["env"] = await self._placeholders.in_place(env) or {}
        try:
            made = await self._reach().rest("POST", "sessions", SessionInfo, message=message)
        except SessionExists:
            if create_only or name is None:
                raise
            return AsyncSession(self._reach(), self._placeholders, name)
        return AsyncSession(self._reach(), self._placeholders, made.name)

    async def sessions(self) -> list[SessionInfo]:
        """All sessions, by name."""
        reply = await self._reach().rest("GET", "sessions", SessionList)
        return reply.sessions
