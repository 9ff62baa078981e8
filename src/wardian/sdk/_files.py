"""What the agent says about files, and how paths travel; no I/O.

A path is bytes. In Python it is a string whose surrogate escapes stand for bytes that are no UTF-8,
as `os.fsdecode` makes it; in JSON it is `path`, or `path_b64` where it is no UTF-8.
"""

from __future__ import annotations

import base64
import posixpath
from datetime import datetime
from typing import TypeVar

import msgspec

from ._models import FileInfo, FileType


def path_field(name: str, path: str) -> dict[str, str]:
    """The field of a request that holds a path."""
    try:
        path.encode()
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogateescape")
        return {f"{name}_b64": base64.b64encode(raw).decode()}
    return {name: path}


def decoded(text: str, encoded: str | None) -> str:
    """The path that a field and its `_b64` neighbour hold."""
    if encoded is None:
        return text
    return base64.b64decode(encoded).decode("utf-8", "surrogateescape")


class Entry(msgspec.Struct):
    """One file, as it travels."""

    path: str
    name: str = ""
    path_b64: str | None = None
    type: str = "unknown"
    size: int = 0
    mode: int = 0
    owner: str = ""
    group: str = ""
    modified_at: datetime | None = None
    target: str | None = None
    target_b64: str | None = None
    target_type: str | None = None
    metadata: dict[str, str] = {}

    def info(self) -> FileInfo:
        """The same, as callers see it."""
        path = decoded(self.path, self.path_b64)
        target = None if self.target is None else decoded(self.target, self.target_b64)
        return FileInfo(
            name=posixpath.basename(path) or path,
            path=path,
            type=FileType(self.type),
            size=self.size,
            mode=self.mode,
            owner=self.owner,
            group=self.group,
            modified_time=self.modified_at,
            symlink_target=target,
            target_type=None if self.target_type is None else FileType(self.target_type),
            metadata=self.metadata,
        )


class EntryPage(msgspec.Struct):
    """One page of a listing."""

    entries: list[Entry] = []
    next_cursor: str | None = None


class ContextLine(msgspec.Struct, frozen=True):
    """A line beside a match.

    Attributes:
        line: Its number, from 1.
        text: What it says, at most 4096 bytes of it.
    """

    line: int
    text: str


class SearchMatch(msgspec.Struct, frozen=True):
    """A line that matches.

    Attributes:
        path: The file.
        line: The line's number, from 1.
        column: Where the first match begins, in characters from 1.
        text: The line, or at most 4096 bytes of it around the match.
        ranges: Where the matches lie within `text`.
        cut: Whether `text` is a part of a longer line.
        before: Lines in front of it, if asked for.
        after: Lines behind it, if asked for.
    """

    path: str
    line: int
    column: int
    text: str
    ranges: list[tuple[int, int]] = []
    cut: bool = False
    before: list[ContextLine] = []
    after: list[ContextLine] = []
    path_b64: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.text}"


class Skipped(msgspec.Struct, frozen=True):
    """What was left out.

    Attributes:
        path: Where it is.
        message: Why.
    """

    path: str
    message: str
    path_b64: str | None = None


class SearchResult(msgspec.Struct, frozen=True):
    """What a search found.

    Attributes:
        matches: The lines that match, file by file.
        files: How many files have any.
        searched: How many were looked through.
        skipped: How many were left out: no text, or unreadable.
        truncated: Whether there may be more matches than the limit let through.
        unreadable: Directories that could not be read.
    """

    matches: list[SearchMatch] = []
    files: int = 0
    searched: int = 0
    skipped: int = 0
    truncated: bool = False
    unreadable: list[Skipped] = []


class SearchEnd(msgspec.Struct):
    """How a search ended."""

    files: int = 0
    searched: int = 0
    skipped: int = 0
    truncated: bool = False
    unreadable: list[Skipped] = []

    def result(self, matches: list[SearchMatch]) -> SearchResult:
        """All of it, as callers see it."""
        return SearchResult(
            matches=matches,
            files=self.files,
            searched=self.searched,
            skipped=self.skipped,
            truncated=self.truncated,
            unreadable=[with_path(each) for each in self.unreadable],
        )


class ReplacedFile(msgspec.Struct, frozen=True):
    """A file in which something was replaced."""

    path: str
    replacements: int
    path_b64: str | None = None


class ReplaceResult(msgspec.Struct, frozen=True):
    """What was replaced.

    Attributes:
        replacements: How often, in all files.
        files: In which files, the first 10,000 of them.
        skipped: Files left alone, because they are no text or larger than 32 MiB.
    """

    replacements: int = 0
    files: list[ReplacedFile] = []
    skipped: list[Skipped] = []


class Digest(msgspec.Struct):
    """The hash of a file."""

    digest: str


class Changed(msgspec.Struct):
    """How many files a call changed."""

    changed: int


class TransferReport(msgspec.Struct, frozen=True):
    """What came of copying a directory.

    Attributes:
        files: How many files were made.
        directories: How many directories were made or found.
        links: How many links were made.
        bytes: How much content there was.
        skipped: What was left out and why, the first hundred.
        skipped_count: How much was left out.
    """

    files: int = 0
    directories: int = 0
    links: int = 0
    bytes: int = 0
    skipped: list[Skipped] = []
    skipped_count: int = 0


T = TypeVar("T", SearchMatch, Skipped, ReplacedFile)


def with_path(value: T) -> T:
    """`value` with its path as callers see it."""
    if value.path_b64 is None:
        return value
    path = decoded(value.path, value.path_b64)
    return msgspec.structs.replace(value, path=path, path_b64=None)
