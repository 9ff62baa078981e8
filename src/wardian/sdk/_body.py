"""What a request can send: bytes, a file, or pieces that a caller makes as they are sent."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, cast

Progress = Callable[[int, int | None], object]
"""Called with the bytes done so far and the total, None where that is not known."""

_READ_CHUNK = 1024 * 1024


@dataclass(slots=True)
class FileBody:
    """A regular file, from `start` on, `size` bytes."""

    file: BinaryIO
    start: int
    size: int
    progress: Progress | None = None

    def report(self, sent: int) -> None:
        """Tell the caller how far it is."""
        if self.progress:
            self.progress(sent, self.size)


@dataclass(slots=True)
class IteratorBody:
    """Pieces whose number and length show only as they come."""

    source: Iterable[bytes] | AsyncIterable[bytes]
    progress: Progress | None = None

    def report(self, sent: int) -> None:
        """Tell the caller how far it is."""
        if self.progress:
            self.progress(sent, None)


Body = bytes | bytearray | memoryview | FileBody | IteratorBody
Source = str | bytes | bytearray | memoryview | BinaryIO | Iterable[bytes] | AsyncIterable[bytes]
"""What a caller may hand over to be written into a file."""


def body_of(source: Source, progress: Progress | None = None) -> Body:
    """The body that sends what a caller handed over, text as UTF-8.

    Args:
        source: Text, bytes, a file open for reading in binary, or an iterable of bytes.
        progress: Told how far it is, where it is sent in pieces.
    """
    if isinstance(source, str):
        return source.encode()
    if isinstance(source, (bytes, bytearray)):
        return source
    if isinstance(source, memoryview):
        return source.cast("B")
    if hasattr(source, "read"):
        return _file_body(cast(BinaryIO, source), progress)
    return IteratorBody(cast("Iterable[bytes] | AsyncIterable[bytes]", source), progress)


def _file_body(file: BinaryIO, progress: Progress | None) -> Body:
    try:
        status = os.fstat(file.fileno())
        start = file.tell()
    except (OSError, AttributeError, ValueError):
        return IteratorBody(_pieces(file), progress)
    if not stat.S_ISREG(status.st_mode):
        return IteratorBody(_pieces(file), progress)
    return FileBody(file, start, max(0, status.st_size - start), progress)


def _pieces(file: BinaryIO) -> Iterable[bytes]:
    while piece := file.read(_READ_CHUNK):
        if isinstance(piece, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("a file must be open in binary mode")
        yield piece
