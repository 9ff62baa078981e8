# Generated from _async/files.py by tools/generate_sync.py: change it there.
"""A sandbox's files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Literal, overload

from .._body import Progress, Source, body_of
from .._errors import ConnectionFailed, FileError, FileNotFound, ProtocolError
from .._localfile import PartialFile, open_local
from .._models import EntriesReply, EntryReply, FileInfo
from .agent import Agent
from .transport import Response

FileList = list[FileInfo]
READ_LIMIT = 1024 * 1024 * 1024
_SERVICE = "filesystem.Filesystem/"


class Files:
    """Read, write and arrange the files of one sandbox.

    Paths may be absolute, relative to the user's home, or begin with `~`. Every call takes `user`:
    whose home relative paths start in and who owns what is made, None for the sandbox's
    default user. It is no permission: these calls read and write every file, as E2B's do. A
    command obeys its user's permissions.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @overload
    def read(
        self,
        path: str,
        format: Literal["text"] = "text",
        *,
        offset: int = 0,
        length: int | None = None,
        user: str | None = None,
    ) -> str: ...

    @overload
    def read(
        self,
        path: str,
        format: Literal["bytes"],
        *,
        offset: int = 0,
        length: int | None = None,
        user: str | None = None,
    ) -> bytes: ...

    @overload
    def read(
        self,
        path: str,
        format: Literal["stream"],
        *,
        offset: int = 0,
        length: int | None = None,
        user: str | None = None,
    ) -> Iterator[bytes]: ...

    def read(
        self,
        path: str,
        format: Literal["text", "bytes", "stream"] = "text",
        *,
        offset: int = 0,
        length: int | None = None,
        user: str | None = None,
    ) -> str | bytes | Iterator[bytes]:
        """Read a file.

        Args:
            path: The file.
            format: `text` (UTF-8), `bytes`, or `stream`: pieces as they arrive, for large files.
            offset: First byte to read.
            length: How many bytes at most; None is up to the end.
            user: Whose home relative paths start in.

        Raises:
            FileNotFound: There is no such file.
            FileError: It is a directory, or may not be read.
            UnicodeDecodeError: `text` was asked of a file that is not UTF-8.
        """
        if format not in ("text", "bytes", "stream"):
            raise ValueError(f"format is text, bytes or stream, not {format!r}")
        response = self._open(path, offset, length, user)
        if response is None:
            return _no_pieces() if format == "stream" else "" if format == "text" else b""
        if format == "stream":
            return _pieces(response)
        data = response.read(READ_LIMIT)
        return data.decode() if format == "text" else data

    def _open(
        self, path: str, offset: int, length: int | None, user: str | None
    ) -> Response | None:
        """A file's content on its way; None where the range is empty."""
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("offset and length can't be negative")
        if length == 0:
            self.stat(path, user=user)
            return None
        headers: dict[str, str] | None = None
        if offset or length is not None:
            last = "" if length is None else str(offset + length - 1)
            headers = {"Range": f"bytes={offset}-{last}"}
        response = self._agent.file("GET", path, user=user, headers=headers, expect=(200, 206, 416))
        if response.status == 416:
            # Behind the end there is nothing, as with any file.
            response.read(READ_LIMIT)
            return None
        if headers is not None and response.status == 200 and (offset or length is not None):
            response.close()
            raise ProtocolError("the sandbox sent a whole file though a part was asked for")
        return response

    def write(self, path: str, data: Source, *, user: str | None = None) -> None:
        """Write a file, replacing what was there; missing directories are made.

        Args:
            path: The file.
            data: Text (as UTF-8), bytes, a file open for reading in binary, or an iterable of
                bytes, which is sent as it comes.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            DiskFull: The sandbox's disk has no room.
            FileError: It is a directory, or may not be written.
        """
        response = self._agent.file(
            "POST",
            path,
            user=user,
            headers={"Content-Type": "application/octet-stream"},
            body=body_of(data),
        )
        response.read(READ_LIMIT)

    def upload(
        self,
        local: str | os.PathLike[str],
        remote: str,
        progress: Progress | None = None,
        *,
        user: str | None = None,
    ) -> None:
        """Copy a local file into the sandbox, in constant memory.

        Args:
            local: The file here.
            remote: The file there; replaced if it exists.
            progress: Called with the bytes sent so far and the total.
            user: Whose home relative paths start in, and who owns what is made.
        """
        with open_local(local) as file:
            response = self._agent.file(
                "POST",
                remote,
                user=user,
                headers={"Content-Type": "application/octet-stream"},
                body=body_of(file, progress),
            )
            response.read(READ_LIMIT)

    def download(
        self,
        remote: str,
        local: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        user: str | None = None,
    ) -> None:
        """Copy a file out of the sandbox, in constant memory.

        Args:
            remote: The file there.
            local: The file here; it appears, or is replaced, only once all of it has come.
            progress: Called with the bytes received so far and the total.
            user: Whose home relative paths start in.
        """
        response = self._agent.file("GET", remote, user=user)
        try:
            length = response.headers.get("content-length")
            total = int(length) if length is not None else None
            received = 0
            with PartialFile(local) as file:
                while piece := response.receive():
                    file.write(piece)
                    received += len(piece)
                    if progress:
                        progress(received, total)
        except ConnectionFailed as error:
            raise FileError(
                f"the download of {remote} was cut off: {error}",
                sandbox_id=self._agent.sandbox_id,
                path=remote,
                code="cut_off",
            ) from error
        finally:
            response.close()

    def list(self, path: str = "", depth: int = 1, *, user: str | None = None) -> FileList:
        """What a directory holds.

        Args:
            path: The directory; empty is the default working directory.
            depth: How many levels to descend; 1 is the directory alone.
            user: Whose home relative paths start in.
        """
        if depth < 1:
            raise ValueError("depth is at least 1")
        message = {"path": path, "depth": depth}
        reply = self._agent.call(f"{_SERVICE}ListDir", message, EntriesReply, user=user, path=path)
        return reply.entries

    def stat(self, path: str, *, user: str | None = None) -> FileInfo:
        """What lies at a path.

        Raises:
            FileNotFound: Nothing does.
        """
        return self._entry("Stat", {"path": path}, path, user)

    def exists(self, path: str, *, user: str | None = None) -> bool:
        """Whether anything lies at a path."""
        try:
            self.stat(path, user=user)
        except FileNotFound:
            return False
        return True

    def mkdir(self, path: str, *, exist_ok: bool = False, user: str | None = None) -> FileInfo:
        """Make a directory, and those above it.

        Args:
            path: The directory.
            exist_ok: Do not mind if it exists.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            FileExists: It exists.
        """
        try:
            return self._entry("MakeDir", {"path": path}, path, user)
        except FileError as error:
            if not exist_ok or error.code not in ("file_exists", "already_exists"):
                raise
            return self.stat(path, user=user)

    def move(self, source: str, destination: str, *, user: str | None = None) -> FileInfo:
        """Move or rename; missing directories above the destination are made."""
        message = {"source": source, "destination": destination}
        return self._entry("Move", message, source, user)

    def remove(self, path: str, *, user: str | None = None) -> None:
        """Remove a file, or a directory with all it holds; no error if there is nothing."""
        self._agent.call(f"{_SERVICE}Remove", {"path": path}, dict[str, Any], user=user, path=path)

    def _entry(self, method: str, message: dict[str, str], path: str, user: str | None) -> FileInfo:
        reply = self._agent.call(f"{_SERVICE}{method}", message, EntryReply, user=user, path=path)
        return reply.entry


def _pieces(response: Response) -> Iterator[bytes]:
    try:
        while piece := response.receive():
            yield bytes(piece)
    finally:
        response.close()


def _no_pieces() -> Iterator[bytes]:
    yield from ()
