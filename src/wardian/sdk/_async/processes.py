"""Commands: the handle of a running one, and how they are started."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from signal import Signals
from types import TracebackType
from typing import Any

import msgspec

from .._errors import (
    CommandFailed,
    CommandNotStarted,
    CommandTimeout,
    InvalidArgument,
    ProcessNotFound,
    ProtocolError,
)
from .._net import async_deliver
from .._process import (
    BASH,
    OUTPUT_LIMIT,
    SH,
    Chunk,
    Command,
    CommandResult,
    Output,
    ProcessInfo,
    ProcessList,
    ProcessMessage,
    SessionProblem,
    signal_name,
    start_request,
)
from .._refusals import from_session
from .._session_errors import SessionNotKept
from .agent import AsyncAgent, AsyncMessages

TextCallback = Callable[[str], object]

_INPUT_CHUNK = 64 * 1024
_START = "process.Process/Start"
_decoder = msgspec.json.Decoder(ProcessMessage, strict=False)
# Templates in which /bin/bash turned out to be missing, by server and template.
_without_bash: set[tuple[str, str]] = set()


class AsyncStdin:
    """A running command's standard input."""

    def __init__(self, agent: AsyncAgent, pid: int, kind: str) -> None:
        self._agent = agent
        self._pid = pid
        self._kind = kind

    async def write(self, data: str | bytes) -> None:
        """Send input; text as UTF-8. Returns when the agent has passed it on."""
        raw = data.encode() if isinstance(data, str) else data
        message = {"process": {"pid": self._pid}, "input": {self._kind: raw}}
        await self._agent.call("process.Process/SendInput", message, dict[str, Any])

    async def close(self) -> None:
        """Send the end of input."""
        message = {"process": {"pid": self._pid}}
        await self._agent.call("process.Process/CloseStdin", message, dict[str, Any])


class AsyncProcess:
    """A command in a sandbox: read its output, wait for it, send it input and signals.

    It runs on when this handle is dropped or its connection breaks; `Sandbox.attach(pid)` finds it
    again.

    Attributes:
        pid: Its number in the sandbox.
        stdin: Its standard input, where it was started with one.
    """

    def __init__(
        self,
        agent: AsyncAgent,
        messages: AsyncMessages,
        *,
        pty: bool = False,
        output_limit: int = OUTPUT_LIMIT,
        started: float | None = None,
        of_session: bool = False,
    ) -> None:
        self._agent = agent
        self._messages = messages
        self._started = time.perf_counter() if started is None else started
        self._queue: deque[Chunk] = deque()
        self._outputs = {
            "stdout": Output(output_limit),
            "stderr": Output(output_limit),
        }
        self._result: CommandResult | None = None
        self._finished = False
        self._stdin_kind = "pty" if pty else "stdin"
        self._of_session = of_session
        self._not_kept: SessionProblem | None = None
        self.pid = 0

    @property
    def stdin(self) -> AsyncStdin:
        """Its standard input."""
        return AsyncStdin(self._agent, self.pid, self._stdin_kind)

    @property
    def result(self) -> CommandResult | None:
        """What it left, once its end has been read."""
        return self._result

    async def begin(self) -> None:
        """Wait for the first message, which says the pid; only for who opened the stream."""
        while self.pid == 0:
            if not await self._receive():
                raise ProtocolError("a process ended without ever having started")

    async def _receive(self) -> bool:
        """Read once from the stream into the queue; False when nothing more comes."""
        if self._finished:
            return False
        messages = await self._messages.receive()
        if not messages:
            self._finished = True
            if self._messages.error is not None:
                self._failed()
            elif self._result is None:
                raise ProtocolError("a process stream ended without saying how the process ended")
            return False
        try:
            for message in messages:
                self._take(_decoder.decode(message))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._messages.close()
            raise ProtocolError(f"a process event is not what it should be: {error}") from error
        return True

    def _take(self, message: ProcessMessage) -> None:
        event = message.event
        if (data := event.data) is not None:
            for stream, piece in (("stdout", data.stdout), ("stderr", data.stderr)):
                if piece:
                    self._outputs[stream].add(piece)
                    self._queue.append(Chunk(stream, piece))
            if data.pty:
                self._outputs["stdout"].add(data.pty)
                self._queue.append(Chunk("pty", data.pty))
        elif event.start is not None:
            self.pid = event.start.pid
        elif (end := event.end) is not None:
            status = end.error or end.status
            self._result = self._make_result(end.exit_code, status, end.session_ended)
            self._not_kept = end.session_error

    def _make_result(
        self, exit_code: int, status: str, session_ended: bool = False
    ) -> CommandResult:
        stdout, stderr = self._outputs["stdout"], self._outputs["stderr"]
        return CommandResult(
            stdout_bytes=stdout.value(),
            stderr_bytes=stderr.value(),
            exit_code=exit_code,
            duration=time.perf_counter() - self._started,
            pid=self.pid,
            status=status,
            truncated=stdout.truncated or stderr.truncated,
            session_ended=session_ended,
        )

    def _failed(self) -> None:
        error = self._messages.error
        assert error is not None
        if error.code == "deadline_exceeded":
            result = self._make_result(-1, "timed out")
            raise CommandTimeout(
                f"the command was stopped after {result.duration:.1f} s, at its timeout",
                sandbox_id=self._agent.sandbox_id,
                result=result,
            )
        if self._result is None and self._of_session:
            raise from_session(error.code, error.message, self._agent.sandbox_id)
        if self._result is None:
            raise self._agent.failure(error)

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        """Output as it comes, until the command ends."""
        while True:
            while self._queue:
                yield self._queue.popleft()
            if not await self._receive():
                return

    async def wait(
        self,
        on_stdout: TextCallback | None = None,
        on_stderr: TextCallback | None = None,
        check: bool = False,
    ) -> CommandResult:
        """Wait until the command ends.

        Args:
            on_stdout: Called with text as it comes; for a terminal, with all of it.
            on_stderr: The same for standard error.
            check: Raise for an exit code other than 0.

        Raises:
            CommandFailed: `check` is set and the exit code is not 0.
            CommandTimeout: It was stopped at its timeout.
            SessionNotKept: It ended, but its session could not take over what it did.
            SandboxGone: The sandbox ended meanwhile.
        """
        callbacks = {"stdout": on_stdout, "pty": on_stdout, "stderr": on_stderr}
        try:
            more = True
            while more:
                more = await self._receive()
                if on_stdout is None and on_stderr is None:
                    self._queue.clear()
                    continue
                while self._queue:
                    chunk = self._queue.popleft()
                    if (callback := callbacks[chunk.stream]) is not None:
                        output = self._outputs["stderr" if chunk.stream == "stderr" else "stdout"]
                        if text := output.text(chunk.data):
                            await async_deliver(callback, text)
        finally:
            for stream in ("stdout", "stderr"):
                callback = callbacks[stream]
                if callback is not None and (text := self._outputs[stream].text(b"", True)):
                    await async_deliver(callback, text)
            if not self._finished:
                self._messages.close()
        result = self._result
        assert result is not None
        if self._not_kept is not None:
            problem = self._not_kept
            raise SessionNotKept(
                problem.message,
                sandbox_id=self._agent.sandbox_id,
                code=problem.code,
                result=result,
            )
        if check and result.exit_code != 0:
            raise CommandFailed(
                f"the command ended with exit code {result.exit_code}",
                sandbox_id=self._agent.sandbox_id,
                result=result,
            )
        return result

    async def feed(self, data: str | bytes) -> None:
        """Send all the input there will be, then its end; no error if it ends before reading it."""
        raw = data.encode() if isinstance(data, str) else data
        try:
            for start in range(0, len(raw), _INPUT_CHUNK):
                await self.stdin.write(raw[start : start + _INPUT_CHUNK])
            await self.stdin.close()
        except (ProcessNotFound, InvalidArgument):
            # It closed its input, or ended: what it left says the rest.
            pass

    async def send_signal(self, signal: int | str | Signals) -> bool:
        """Send a signal; False if the process has ended already."""
        message = {"process": {"pid": self.pid}, "signal": signal_name(signal)}
        try:
            await self._agent.call("process.Process/SendSignal", message, dict[str, Any])
        except ProcessNotFound:
            return False
        return True

    async def kill(self) -> bool:
        """End it at once (SIGKILL); False if it has ended already."""
        return await self.send_signal(Signals.SIGKILL)

    async def terminate(self) -> bool:
        """Ask it to end (SIGTERM); False if it has ended already."""
        return await self.send_signal(Signals.SIGTERM)

    async def resize(self, columns: int, rows: int) -> None:
        """Tell a terminal its new size."""
        size = {"cols": columns, "rows": rows}
        message = {"process": {"pid": self.pid}, "pty": {"size": size}}
        await self._agent.call("process.Process/Update", message, dict[str, Any])

    def disconnect(self) -> None:
        """Stop listening; the command runs on."""
        self._finished = True
        self._messages.close()

    async def __aenter__(self) -> AsyncProcess:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening; the command runs on."""
        self.disconnect()


async def start(
    agent: AsyncAgent,
    command: Command,
    *,
    shell_memory: tuple[str, str],
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    user: str | None = None,
    timeout: float | None = None,
    stdin: bool = False,
    pty: tuple[int, int] | None = None,
    output_limit: int = OUTPUT_LIMIT,
    session: str | None = None,
) -> AsyncProcess:
    """Start a command and wait until it runs.

    Args:
        agent: The sandbox's agent.
        command: A string for a login shell (bash, else sh), or a list without a shell.
        shell_memory: Server and template, under which a missing bash is remembered.
        cwd: Working directory.
        env: Variables added to the sandbox's.
        user: Who runs it.
        timeout: Seconds after which it is stopped with all that it started.
        stdin: Whether input will be sent; otherwise it reads the end at once.
        pty: Columns and rows of a terminal.
        output_limit: Bytes of each output kept for the result.
        session: The session whose shell runs it, when its turn comes.
    """
    if timeout is not None and timeout <= 0:
        raise ValueError("a timeout must be more than 0 seconds")
    if isinstance(command, str) and session is None:
        shells = (SH,) if shell_memory in _without_bash else (BASH, SH)
    else:
        shells = (None,)
    for shell in shells:
        began = time.perf_counter()
        message = start_request(
            command, shell=shell, cwd=cwd, env=env, stdin=stdin, pty=pty, session=session
        )
        messages = await agent.stream(_START, message, user=user, timeout=timeout)
        process = AsyncProcess(
            agent,
            messages,
            pty=pty is not None,
            output_limit=output_limit,
            started=began,
            of_session=session is not None,
        )
        try:
            await process.begin()
            return process
        except InvalidArgument as error:
            message = str(error)
            # The agent's words for a program that could not be executed.
            if not message.startswith("cannot run "):
                raise
            if shell is not None and shell != shells[-1] and "No such file" in message:
                _without_bash.add(shell_memory)
                continue
            raise CommandNotStarted(message, sandbox_id=agent.sandbox_id) from error
        except BaseException:
            messages.close()
            raise
    raise AssertionError("unreachable: the last shell returns or raises")


async def running(agent: AsyncAgent) -> list[ProcessInfo]:
    """The processes that were started through the agent and still run."""
    reply = await agent.call("process.Process/List", {}, ProcessList)
    return reply.processes


async def attach(agent: AsyncAgent, pid: int, output_limit: int = OUTPUT_LIMIT) -> AsyncProcess:
    """Listen to a running process again; earlier output is not repeated.

    Raises:
        ProcessNotFound: It does not run, and did not end within the last seconds.
    """
    message = msgspec.json.encode({"process": {"pid": pid}})
    messages = await agent.stream("process.Process/Connect", message)
    process = AsyncProcess(agent, messages, output_limit=output_limit)
    try:
        await process.begin()
    except BaseException:
        messages.close()
        raise
    return process
