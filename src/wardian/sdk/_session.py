"""What is said of sessions."""

from __future__ import annotations

from datetime import datetime

import msgspec


class SessionInfo(msgspec.Struct, frozen=True):
    """A session of a sandbox.

    Attributes:
        name: What it is found by.
        user: Who its commands run as.
        cwd: Where its next command runs; what is no UTF-8 is shown as U+FFFD.
        state: `ready`, `busy` or `ended`.
        exit_code: What it ended with, once it has.
        created_at: When it was made.
        commands: How many have begun in it.
        waiting: How many stand in line behind the one that runs.
        cwd_b64: The directory's bytes, where they are no UTF-8.
    """

    name: str
    user: str
    cwd: str
    state: str
    exit_code: int | None
    created_at: datetime
    commands: int
    waiting: int = 0
    cwd_b64: bytes | None = None


class SessionList(msgspec.Struct):
    """All sessions."""

    sessions: list[SessionInfo]
