"""What is told of changing files; no I/O."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Literal

import msgspec

from ._errors import ProtocolError
from ._events import Event

ChangeType = Literal["create", "write", "remove", "rename", "chmod", "resync"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a file or directory.

    Attributes:
        type: `create`, `write`, `remove`, `rename`, `chmod`; or `resync`: events were lost, and
            who keeps a picture of the tree must look anew.
        path: Where it is, absolute; for `resync` the watched directory. Bytes that are no UTF-8
            are surrogate escapes, as in `os.fsdecode`.
        from_path: Where it was, for a rename.
        is_directory: Whether it is a directory.
        cursor: From where `changes` or another watch goes on; None in the answer of `changes`.
        reason: Why, for `resync`: `overflow`, `slow_reader`, `cursor_expired`, `watch_limit`.
    """

    type: ChangeType
    path: str
    from_path: str | None = None
    is_directory: bool = False
    cursor: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since a cursor.

    Attributes:
        cursor: What to ask with next time.
        changes: Each path once, the earliest first.
        resync: The past is gone: look at the tree anew, then go on from `cursor`.
    """

    cursor: str
    changes: list[Change]
    resync: bool


class _ChangeText(msgspec.Struct):
    type: Literal["create", "write", "remove", "rename", "chmod"]
    path: str
    directory: bool = False
    path_b64: str | None = None
    # `from` is a word of Python's.
    origin: str | None = msgspec.field(default=None, name="from")
    origin_b64: str | None = msgspec.field(default=None, name="from_b64")
    cursor: str | None = None

    def change(self) -> Change:
        origin = None if self.origin is None else _path(self.origin, self.origin_b64)
        path = _path(self.path, self.path_b64)
        return Change(self.type, path, origin, self.directory, self.cursor)


class _Ready(msgspec.Struct):
    cursor: str


class _Resync(msgspec.Struct):
    reason: str
    cursor: str


class StreamError(msgspec.Struct):
    """How a stream says why it ends."""

    code: str
    message: str


class ChangesReply(msgspec.Struct):
    """The answer to `watch/changes`."""

    cursor: str
    changes: list[_ChangeText] = []
    resync: bool = False

    def read(self) -> Changes:
        """The same in the words of the SDK."""
        return Changes(self.cursor, [each.change() for each in self.changes], self.resync)


def _path(text: str, encoded: str | None) -> str:
    return text if encoded is None else os.fsdecode(base64.b64decode(encoded))


def read_event(event: Event, root: str) -> str | Change | StreamError | None:
    """What an event of a watch says: the cursor of `ready`, a change, or how it ends.

    Args:
        event: As it came.
        root: The watched directory, for `resync`.

    Raises:
        ProtocolError: It is not what it should be.
    """
    try:
        if event.name == "ready":
            return msgspec.json.decode(event.data, type=_Ready).cursor
        if event.name == "change":
            return msgspec.json.decode(event.data, type=_ChangeText).change()
        if event.name == "resync":
            lost = msgspec.json.decode(event.data, type=_Resync)
            return Change("resync", root, is_directory=True, cursor=lost.cursor, reason=lost.reason)
        if event.name == "error":
            return msgspec.json.decode(event.data, type=StreamError)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise ProtocolError(f"an event of a watch is not what it should be: {error}") from error
    return None


def watch_query(
    path: str,
    recursive: bool,
    include: list[str],
    exclude: list[str],
    since: str | None,
    user: str | None,
) -> list[tuple[str, str]]:
    """The parameters of a call to `watch`."""
    query = [("path", path), ("recursive", "true" if recursive else "false")]
    query += [("include", glob) for glob in include]
    query += [("exclude", glob) for glob in exclude]
    if since is not None:
        query.append(("since", since))
    if user is not None:
        query.append(("user", user))
    return query


def globs(patterns: str | list[str] | tuple[str, ...] | None) -> list[str]:
    """One glob, several, or none, as a list."""
    if patterns is None:
        return []
    return [patterns] if isinstance(patterns, str) else list(patterns)
