"""What is said of terminals."""

from __future__ import annotations

from datetime import datetime

import msgspec

MAX_SIZE = 4096
"""The most columns or rows a terminal has."""


class TerminalInfo(msgspec.Struct, frozen=True):
    """A terminal of a sandbox.

    Attributes:
        name: What one attaches to it by.
        pid: The program's number in the sandbox.
        argv: The program and its arguments.
        cols: How wide it is, in characters.
        rows: How high it is, in lines.
        clients: How many are attached.
        state: `running` or `ended`.
        exit_code: Once it has ended; 128 + n where signal n ended it.
        signal: The signal that ended it, such as `SIGHUP`.
        created_at: When it was started.
    """

    name: str
    pid: int
    argv: list[str]
    cols: int
    rows: int
    clients: int
    state: str
    exit_code: int | None
    signal: str | None
    created_at: datetime


class TerminalList(msgspec.Struct):
    """All terminals."""

    terminals: list[TerminalInfo]


class Notice(msgspec.Struct):
    """A text frame of a terminal."""

    type: str
    code: int = 0
    signal: str | None = None
    message: str = ""
