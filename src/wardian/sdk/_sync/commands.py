# Generated from _async/commands.py by tools/generate_sync.py: change it there.
"""Running commands: the part of a sandbox that is about them."""

from __future__ import annotations

from .._net import alongside
from .._process import OUTPUT_LIMIT, Command, CommandResult, ProcessInfo
from . import processes
from .agent import Agent
from .placeholders import Environment, Placeholders
from .processes import Process, TextCallback


class Commands:
    """What a sandbox can do with commands."""

    # Server and template, under which a missing bash is remembered.
    _shell_memory: tuple[str, str]
    _placeholders: Placeholders

    def _reach(self) -> Agent:
        """The agent, or an error that says why there is none."""
        raise NotImplementedError

    def run(
        self,
        command: Command,
        *,
        cwd: str | None = None,
        env: Environment | None = None,
        user: str | None = None,
        timeout: float | None = None,
        on_stdout: TextCallback | None = None,
        on_stderr: TextCallback | None = None,
        stdin: str | bytes | None = None,
        check: bool = False,
        output_limit: int = OUTPUT_LIMIT,
    ) -> CommandResult:
        """Run a command and wait for its end.

        Args:
            command: A string runs in a login shell (bash, or sh where there is none); a list is a
                program with its arguments, and no shell.
            cwd: Where it runs.
            env: Variables added to the sandbox's; `Secret(NAME)` is its placeholder.
            user: Who runs it.
            timeout: Seconds after which it is stopped, with every process it started.
            on_stdout: Called with standard output as it comes.
            on_stderr: The same for standard error.
            stdin: What it reads from standard input; nothing if not given.
            check: Raise for an exit code other than 0.
            output_limit: Bytes kept of each output; callbacks get all.

        Returns:
            Its output and exit code.

        Raises:
            CommandFailed: `check` is set and the exit code is not 0.
            CommandTimeout: Its time was up; the error holds the output so far.
            InvalidArgument: `cwd` or `user` does not exist, or the program can't be started.
            SandboxGone: The sandbox has ended.
        """
        process = processes.start(
            self._reach(),
            command,
            shell_memory=self._shell_memory,
            cwd=cwd,
            env=self._placeholders.in_place(env),
            user=user,
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
        user: str | None = None,
        timeout: float | None = None,
        stdin: bool = True,
        output_limit: int = OUTPUT_LIMIT,
    ) -> Process:
        """Start a command and return while it runs; the arguments are those of `run`.

        `stdin` says whether input will be sent: if not, the command reads the end at once.
        """
        return processes.start(
            self._reach(),
            command,
            shell_memory=self._shell_memory,
            cwd=cwd,
            env=self._placeholders.in_place(env),
            user=user,
            timeout=timeout,
            stdin=stdin,
            output_limit=output_limit,
        )

    def pty(
        self,
        command: Command | None = None,
        *,
        columns: int = 80,
        rows: int = 24,
        cwd: str | None = None,
        env: Environment | None = None,
        user: str | None = None,
        timeout: float | None = None,
    ) -> Process:
        """Start a command in a terminal, an interactive bash if none is given.

        Args:
            command: As for `run`.
            columns: The terminal's width in characters.
            rows: Its height in lines.
            cwd: Where it runs.
            env: Variables added to the sandbox's; `Secret(NAME)` is its placeholder.
            user: Who runs it.
            timeout: Seconds after which it is stopped.
        """
        variables = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        return processes.start(
            self._reach(),
            ["/bin/bash", "-i", "-l"] if command is None else command,
            shell_memory=self._shell_memory,
            cwd=cwd,
            env=variables | (self._placeholders.in_place(env) or {}),
            user=user,
            timeout=timeout,
            stdin=True,
            pty=(columns, rows),
        )

    def attach(self, pid: int) -> Process:
        """Listen again to a running command; earlier output is not repeated.

        Raises:
            ProcessNotFound: It does not run any more.
        """
        return processes.attach(self._reach(), pid)

    def processes(self) -> list[ProcessInfo]:
        """The running commands that were started from outside."""
        return processes.running(self._reach())
