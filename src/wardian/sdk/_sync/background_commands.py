# Generated from _async/background_commands.py by tools/generate_sync.py: change it there.
"""Starting and finding background processes: the part of a sandbox that is about them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from .._background import BackgroundInfo, BackgroundList, OnExit, Restart, start_message
from .._process import Command
from .agent import Agent
from .background import BackgroundProcess
from .placeholders import Environment, Placeholders


class BackgroundCommands:
    """What a sandbox can do with background processes."""

    _placeholders: Placeholders

    def _reach(self) -> Agent:
        """The agent, or an error that says why there is none."""
        raise NotImplementedError

    def start(
        self,
        command: Command,
        name: str | None = None,
        *,
        env: Environment | None = None,
        cwd: str | None = None,
        user: str | None = None,
        on_exit: OnExit | None = None,
        restart: Restart = "never",
        log_limit: int | None = None,
    ) -> BackgroundProcess:
        """Start a command that runs on in the background, with a log.

        Args:
            command: A string runs in a login shell (bash, or sh where there is none); a list is a
                program with its arguments, and no shell.
            name: To find it again by, as a sandbox's; made up if not given. An ended process of
                the name is replaced.
            env: Variables added to the sandbox's; `Secret(NAME)` is its placeholder.
            cwd: Where it runs.
            user: Who runs it.
            on_exit: What happens when it has ended for good: a function that gets its
                `BackgroundInfo` (called here, while the handle is not closed), or a command that
                runs in the sandbox with WARDIAN_PROCESS, WARDIAN_EXIT_CODE and WARDIAN_SIGNAL set.
            restart: Whether it is started again when it ends: `never`, `on-failure` or `always`;
                after 0.1 s, then twice as long each time, at most 10 s.
            log_limit: Bytes of log that are kept; 64 MiB if not given.

        Raises:
            ProcessExists: A process of that name runs.
            InvalidRequest: An argument can't be used, or the program can't be started.
        """
        agent = self._reach()
        message = start_message(
            command,
            name=name,
            env=self._placeholders.in_place(env),
            cwd=cwd,
            user=user,
            on_exit=on_exit if isinstance(on_exit, str) else None,
            restart=restart,
            log_limit=log_limit,
        )
        info = agent.rest("POST", "processes", BackgroundInfo, message=message)
        process = BackgroundProcess(agent, info)
        if on_exit is not None and not isinstance(on_exit, str):
            process.call_on_exit(on_exit)
        return process

    def background_processes(self) -> list[BackgroundProcess]:
        """The background processes, ended ones too; `processes()` are the other commands."""
        agent = self._reach()
        found = agent.rest("GET", "processes", BackgroundList)
        return [BackgroundProcess(agent, info) for info in found.processes]

    def background_process(self, name: str) -> BackgroundProcess:
        """The background process of that name.

        Raises:
            ProcessNotFound: There is none.
        """
        agent = self._reach()
        path = f"processes/{quote(name, safe='')}"
        return BackgroundProcess(agent, agent.rest("GET", path, BackgroundInfo))

    def stop_all(self, grace: float = 5) -> list[BackgroundInfo]:
        """End all background processes at once; they stay listed.

        Args:
            grace: Seconds from SIGTERM to SIGKILL.
        """
        message: dict[str, Any] = {"grace": grace}
        answer = self._reach().rest(
            "POST", "processes/stop", BackgroundList, message=message, silence=grace + 60
        )
        return answer.processes
