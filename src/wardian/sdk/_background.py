"""What is told of background processes, and their logs; no I/O."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec

from ._errors import ProtocolError
from ._process import Command

Restart = Literal["never", "on-failure", "always"]
Stream = Literal["stdout", "stderr"]

_HEADER = struct.Struct(">B3xIQQ")
_KINDS = {1: "stdout", 2: "stderr", 3: "mark", 4: "gap", 5: "idle"}
# The agent's records hold at most 32 KiB; a longer one is no record.
_PAYLOAD_LIMIT = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INLINE_FLAGS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x"}


class LogExtent(msgspec.Struct, frozen=True):
    """Which part of a log is kept.

    Attributes:
        id: Tells the log from an earlier one of the same name.
        start: The cursor of the oldest record.
        end: The cursor behind the newest.
    """

    id: str
    start: int
    end: int


class BackgroundInfo(msgspec.Struct, frozen=True):
    """How a background process is.

    Attributes:
        name: Its name in the sandbox.
        state: `running`, `restarting` (between an end and the next start) or `ended`.
        command: What runs.
        restarts: How often it was started again.
        started_at: When its last run began.
        cpu_seconds: CPU time of all its runs, with all that descended from them.
        memory_peak_bytes: The most memory that one of its processes was ever resident with.
        log: Which part of its log is kept.
        pid: The command's number in the sandbox while it runs.
        exit_code: How its last run ended; None while it runs, or if a signal ended it.
        signal: The signal that ended it, such as `SIGKILL`.
        reason: How it ended, in words.
        ended_at: When its last run ended.
    """

    name: str
    state: str
    command: str
    restarts: int
    started_at: datetime
    cpu_seconds: float
    memory_peak_bytes: int
    log: LogExtent
    pid: int | None = None
    exit_code: int | None = None
    signal: str | None = None
    reason: str | None = None
    ended_at: datetime | None = None


class BackgroundList(msgspec.Struct):
    """All of them."""

    processes: list[BackgroundInfo]


OnExit = str | Callable[[BackgroundInfo], object]
"""A command for the sandbox, or a function of one's own."""


class PortAnswer(msgspec.Struct):
    """A port that answers."""

    status: int | None = None


class LogMatch(msgspec.Struct, frozen=True):
    """A line that was waited for.

    Attributes:
        line: The line, without its end.
        match: What of it matched.
        cursor: Of the record the line ends in.
        groups: What each group of a regular expression matched.
    """

    line: str
    match: str
    cursor: int
    groups: list[str | None] = []


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One piece of a log.

    Attributes:
        kind: `stdout` or `stderr`; `mark` for a start or an end; `gap` where the log has lost
            something.
        data: What was written; JSON for a mark or a gap.
        cursor: Its place in the log.
        next: The place behind it: where reading goes on.
        time: When it was read.
    """

    kind: str
    data: bytes
    cursor: int
    next: int
    time: datetime

    @property
    def text(self) -> str:
        """The bytes as UTF-8, what is not valid replaced."""
        return self.data.decode("utf-8", "replace")

    @property
    def json(self) -> dict[str, Any]:
        """What a mark or a gap says."""
        return msgspec.json.decode(self.data, type=dict[str, Any])


@dataclass(frozen=True, slots=True)
class ProcessLog:
    """A part of a log.

    Attributes:
        records: Its records, in order.
        next: Where reading goes on.
    """

    records: tuple[LogRecord, ...]
    next: int

    def _joined(self, *kinds: str) -> str:
        data = b"".join(record.data for record in self.records if record.kind in kinds)
        return data.decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """Both outputs, as they came."""
        return self._joined("stdout", "stderr")

    @property
    def stdout(self) -> str:
        """Standard output."""
        return self._joined("stdout")

    @property
    def stderr(self) -> str:
        """Standard error."""
        return self._joined("stderr")

    def __str__(self) -> str:
        return self.text


class LogDecoder:
    """Takes bytes as they come and gives records when they are whole."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, piece: bytes | memoryview) -> list[LogRecord]:
        """The records that `piece` completes.

        Raises:
            ProtocolError: The bytes are no log.
        """
        self._pending += piece
        pending, at = self._pending, 0
        records: list[LogRecord] = []
        while len(pending) - at >= _HEADER.size:
            kind, length, cursor, time = _HEADER.unpack_from(pending, at)
            end = at + _HEADER.size + length
            if kind not in _KINDS or length > _PAYLOAD_LIMIT:
                raise ProtocolError("the log is not what it should be")
            if end > len(pending):
                break
            records.append(_record(kind, bytes(pending[at + _HEADER.size : end]), cursor, time))
            at = end
        del pending[:at]
        return records

    @property
    def empty(self) -> bool:
        """Whether no record has begun."""
        return not self._pending


def _record(kind: int, data: bytes, cursor: int, time: int) -> LogRecord:
    try:
        moment = _EPOCH + timedelta(microseconds=time)
    except OverflowError:
        moment = _EPOCH
    following = cursor + _HEADER.size + len(data)
    name = _KINDS[kind]
    if name == "idle":
        following = cursor
    elif name == "gap":
        try:
            following = int(msgspec.json.decode(data, type=dict[str, int]).get("next", following))
        except msgspec.DecodeError as error:
            raise ProtocolError("a gap in the log is not what it should be") from error
    return LogRecord(name, data, cursor, following, moment)


def start_message(command: Command, **given: object) -> dict[str, object]:
    """The request for a start.

    Args:
        command: A string for a login shell, or a list without a shell.
        given: The other fields; None leaves one out.
    """
    message: dict[str, object] = {key: value for key, value in given.items() if value is not None}
    if isinstance(command, str):
        message["command"] = command
    else:
        message["argv"] = [str(argument) for argument in command]
    return message


def pattern_query(pattern: str | re.Pattern[str]) -> tuple[str, str]:
    """The parameter that asks for a line: text as it is, or a regular expression.

    Raises:
        ValueError: The expression has a flag that only Python knows.
    """
    if isinstance(pattern, str):
        return "text", pattern
    flags = re.RegexFlag(pattern.flags)
    letters = "".join(letter for flag, letter in _INLINE_FLAGS.items() if flags & flag)
    if flags & re.LOCALE:
        raise ValueError("a pattern with re.LOCALE can't be looked for in a sandbox")
    if flags & re.ASCII:
        letters += "-u"
    return "regex", f"(?{letters}){pattern.pattern}" if letters else pattern.pattern


def signal_word(signal: int | str) -> int | str:
    """A signal as the agent takes it: `signal.SIGTERM`, `15`, `"TERM"` or `"SIGTERM"`."""
    return signal if isinstance(signal, str) else int(signal)


def status_word(status: int | tuple[int, int]) -> str:
    """One status, or the first and the last of a range."""
    return str(status) if isinstance(status, int) else f"{status[0]}-{status[1]}"
