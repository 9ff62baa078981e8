# Generated from _async/sessions.py by tools/generate_sync.py: change it there.
"""Sessions: shells whose directory, variables and functions persist from command to command."""

from __future__ import annotations

from types import TracebackType
from typing import Any
from urllib.parse import quote

from .._net import alongside
from .._process import OUTPUT_LIMIT, Command, CommandResult
from .._session import SessionInfo, SessionList
from .._session_errors import SessionExists, SessionNotFound
from . import processes
from .agent import Agent
from .placeholders import Environment, Placeholders
from .processes import Process, TextCallback


class Session:
    """A shell (bash) that goes on from command to command, whoever gives them.

    Directory, variables, functions, aliases, options and traps persist; background jobs run on,
    but `jobs` and `wait` of the next command do not know them, and open descriptors end with their
    command. Commands run one after another, in the order they were given. One that is killed or
    times out leaves the session as it was before. Leaving `with` closes it.

    Attributes:
        name: What it is found by again.
    """

    def __init__(self, agent: Agent, placeholders: Placeholders, name: str) -> None:
        self._agent = agent
        self._placeholders = placeholders
        self.name = name

    def run(
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
        process = self.spawn(
            command,
            cwd=cwd,
            env=env,
            timeout=timeout,
            stdin=stdin is not None,
            output_limit=output_limit,
        )
        if stdin is None:
            return process.wait(on_stdout, on_stderr, check)
        # At the same time: a command that answers while it reads would else wait for us for ever.
        return alongside(
            lambda: process.feed(stdin), lambda: process.wait(on_stdout, on_stderr, check)
        )

    def spawn(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        timeout: float | None = None,
        stdin: bool = True,
        output_limit: int = OUTPUT_LIMIT,
    ) -> Process:
        """Start a command line when its turn comes and return while it runs; the arguments are
        those of `run`. Its signals go to the session's shell, SIGKILL to its whole tree.

        `stdin` says whether input will be sent: if not, the command reads the end at once.
        """
        return processes.start(
            self._agent,
            command,
            shell_memory=("", ""),
            cwd=cwd,
            env=self._placeholders.in_place(env),
            timeout=timeout,
            stdin=stdin,
            output_limit=output_limit,
            session=self.name,
        )

    def info(self) -> SessionInfo:
        """Ask where it is and what it does.

        Raises:
            SessionNotFound: It was closed.
        """
        return self._agent.rest("GET", f"sessions/{quote(self.name, safe='')}", SessionInfo)

    def close(self) -> None:
        """Forget it; its running command is killed. Closing a closed one is no error."""
        try:
            self._agent.rest("DELETE", f"sessions/{quote(self.name, safe='')}", type(None))
        except SessionNotFound:
            return

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class Sessions:
    """What a sandbox can do with sessions."""

    _placeholders: Placeholders

    def _reach(self) -> Agent:
        """The agent, or an error that says why there is none."""
        raise NotImplementedError

    def session(
        self,
        name: str | None = None,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        user: str | None = None,
        create_only: bool = False,
    ) -> Session:
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
        message["env"] = self._placeholders.in_place(env) or {}
        try:
            made = self._reach().rest("POST", "sessions", SessionInfo, message=message)
        except SessionExists:
            if create_only or name is None:
                raise
            return Session(self._reach(), self._placeholders, name)
        return Session(self._reach(), self._placeholders, made.name)

    def sessions(self) -> list[SessionInfo]:
        """All sessions, by name."""
        reply = self._reach().rest("GET", "sessions", SessionList)
        return reply.sessions
