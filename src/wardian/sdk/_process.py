"""The messages of process.Process, and what a command leaves; no I/O."""

from __future__ import annotations

import codecs
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

Command = str | Sequence[str]
"""A shell command line, or a program with its arguments and no shell."""

OUTPUT_LIMIT = 64 * 1024 * 1024
BASH = "/bin/bash"
SH = "/bin/sh"


class _Started(msgspec.Struct):
    pid: int = 0


class _Data(msgspec.Struct):
    stdout: bytes = b""
    stderr: bytes = b""
    pty: bytes = b""


class SessionProblem(msgspec.Struct):
    """Why a session is still what it was before a command."""

    code: str = "session_error"
    message: str = ""


class _Ended(msgspec.Struct, rename="camel"):
    exit_code: int = 0
    exited: bool = False
    status: str = ""
    error: str | None = None
    session_ended: bool = False
    session_error: SessionProblem | None = None


class _Event(msgspec.Struct):
    start: _Started | None = None
    data: _Data | None = None
    end: _Ended | None = None


class ProcessMessage(msgspec.Struct):
    """One message of Start or Connect."""

    event: _Event = msgspec.field(default_factory=_Event)


class ProcessConfig(msgspec.Struct):
    """What runs, or is to run."""

    cmd: str
    args: list[str] = []
    envs: dict[str, str] = {}
    cwd: str | None = None


class ProcessInfo(msgspec.Struct):
    """A process that the agent started and that still runs."""

    pid: int
    config: ProcessConfig
    tag: str | None = None


class ProcessList(msgspec.Struct):
    """All of them."""

    processes: list[ProcessInfo] = []


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a running command's output.

    Attributes:
        stream: `stdout`, `stderr`, or `pty` for a terminal, where both are one.
        data: The bytes as they were written.
    """

    stream: str
    data: bytes

    @property
    def text(self) -> str:
        """The bytes as UTF-8, what is not valid replaced."""
        return self.data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command left.

    Attributes:
        stdout_bytes: What it wrote to standard output (or its terminal).
        stderr_bytes: What it wrote to standard error.
        exit_code: Its exit code; -1 if a signal ended it or it was stopped.
        duration: Seconds from asking for it to knowing its end.
        pid: Its number in the sandbox.
        status: How it ended, in words, where the agent says more than the exit code.
        truncated: It wrote more than is kept (64 MiB each unless told otherwise).
        session_ended: It ended its session, by `exit` or `exec` or under `set -e`.
    """

    stdout_bytes: bytes = field(repr=False)
    stderr_bytes: bytes = field(repr=False)
    exit_code: int
    duration: float
    pid: int
    status: str = ""
    truncated: bool = False
    session_ended: bool = False

    @property
    def stdout(self) -> str:
        """Standard output as UTF-8, what is not valid replaced."""
        return self.stdout_bytes.decode("utf-8", "replace")

    @property
    def stderr(self) -> str:
        """Standard error as UTF-8, what is not valid replaced."""
        return self.stderr_bytes.decode("utf-8", "replace")

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.exit_code == 0


class Output:
    """Gathers one stream of a command, up to a limit, and cuts it into valid text."""

    __slots__ = ("_decoder", "_kept", "_limit", "_pieces", "truncated")

    def __init__(self, limit: int) -> None:
        self._pieces: list[bytes] = []
        self._kept = 0
        self._limit = limit
        self._decoder: codecs.IncrementalDecoder | None = None
        self.truncated = False

    def add(self, data: bytes) -> None:
        """Keep a piece, or what of it still fits."""
        room = self._limit - self._kept
        if len(data) > room:
            self.truncated = True
            data = data[:room]
        if data:
            self._pieces.append(data)
            self._kept += len(data)

    def text(self, data: bytes, final: bool = False) -> str:
        """A piece as text; a character cut in two waits for its rest."""
        if self._decoder is None:
            self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return self._decoder.decode(data, final)

    def value(self) -> bytes:
        """All that was kept."""
        return b"".join(self._pieces)


def signal_name(number: int | str | signal.Signals) -> str:
    """A signal as the protocol writes it.

    Args:
        number: `signal.SIGTERM`, `15`, `"TERM"` or `"SIGTERM"`.

    Raises:
        ValueError: There is no such signal.
    """
    if isinstance(number, str):
        name = number.upper() if number.upper().startswith("SIG") else f"SIG{number.upper()}"
        if name not in signal.Signals.__members__:
            raise ValueError(f"no signal is called {number!r}")
        return f"SIGNAL_{name}"
    return f"SIGNAL_{signal.Signals(number).name}"


def start_request(
    command: Command,
    *,
    shell: str | None,
    cwd: str | None,
    env: dict[str, str] | None,
    stdin: bool,
    pty: tuple[int, int] | None = None,
    session: str | None = None,
) -> bytes:
    """The Start message.

    Args:
        command: A string for the shell or a list of arguments.
        shell: The shell for a string; None for a list.
        cwd: Working directory, None for the default.
        env: Variables added to the sandbox's.
        stdin: Whether the caller may send input.
        pty: Columns and rows of a terminal, None for pipes.
        session: The session that a string is a command line of; `shell` is not used then.

    Raises:
        ValueError: The command is an empty list, or holds a NUL byte.
    """
    if session is not None:
        argv = [command if isinstance(command, str) else shlex.join(command)]
        if not argv[0].strip():
            raise ValueError("an empty command can't be run")
    elif isinstance(command, str):
        argv = [shell or SH, "-l", "-c", command]
    else:
        argv = [str(argument) for argument in command]
        if not argv or not argv[0]:
            raise ValueError("an empty command can't be run")
    for text in (*argv, cwd or "", *(env or {}).keys(), *(env or {}).values()):
        if "\0" in text:
            raise ValueError("a command, directory or variable can't hold a NUL byte")
    process: dict[str, Any] = {"cmd": argv[0], "args": argv[1:]}
    if env:
        process["envs"] = env
    if cwd is not None:
        process["cwd"] = cwd
    message: dict[str, Any] = {"process": process, "stdin": stdin}
    if session is not None:
        message["session"] = session
    if pty is not None:
        message["pty"] = {"size": {"cols": pty[0], "rows": pty[1]}}
    return msgspec.json.encode(message)
