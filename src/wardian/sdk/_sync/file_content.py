# Generated from _async/file_content.py by tools/generate_sync.py: change it there.
"""The content of a sandbox's files: reading, writing, and copying from and to this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal, overload

from .._body import Progress, Source, body_of
from .._errors import ConnectionFailed, FileError, ProtocolError
from .._files import Digest
from .._localfile import PartialFile, open_local
from .agent import Agent
from .transport import Response

READ_LIMIT = 1024 * 1024 * 1024
_OCTETS = {"Content-Type": "application/octet-stream"}


class FileContent:
    """Reads and writes files of one sandbox."""

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
            IsADirectory: It is a directory.
            FileError: It is no regular file, or can't be read.
            UnicodeDecodeError: `text` was asked of a file that is not UTF-8.
        """
        if format not in ("text", "bytes", "stream"):
            raise ValueError(f"format is text, bytes or stream, not {format!r}")
        response = self._open(path, offset, length, user)
        if response is None:
            return _no_pieces() if format == "stream" else "" if format == "text" else b""
        if format == "stream":
            return pieces(response)
        data = response.read(READ_LIMIT)
        return data.decode() if format == "text" else data

    def _open(
        self, path: str, offset: int, length: int | None, user: str | None
    ) -> Response | None:
        """A file's content on its way; None where the range is empty."""
        if offset < 0 or (length is not None and length < 0):
            raise ValueError("offset and length can't be negative")
        headers: dict[str, str] | None = None
        if offset or length is not None:
            # Nothing is asked for as one byte, so that a file that is not there is told.
            last = "" if length is None else str(offset + max(length, 1) - 1)
            headers = {"Range": f"bytes={offset}-{last}"}
        response = self._agent.open(
            "GET",
            "files/content",
            query=query(path, user),
            headers=headers,
            about=path,
            expect=(200, 206, 416),
        )
        if response.status == 416 or length == 0:
            # Behind the end there is nothing, as with any file.
            response.close()
            return None
        if headers is not None and response.status == 200:
            response.close()
            raise ProtocolError("the sandbox sent a whole file though a part was asked for")
        return response

    def write(
        self,
        path: str,
        data: Source,
        *,
        mode: int | None = None,
        append: bool = False,
        exclusive: bool = False,
        atomic: bool = True,
        sync: bool = False,
        user: str | None = None,
    ) -> None:
        """Write a file, replacing what was there; missing directories are made.

        It takes the place of the old one in one step: a reader sees the old or the new, whole, and
        when something goes wrong the old one stays. An existing file keeps its owner and mode.

        Args:
            path: The file. A link is followed.
            data: Text (as UTF-8), bytes, a file open for reading in binary, or an iterable of
                bytes, which is sent as it comes.
            mode: Permission bits; None keeps those of an existing file, 0o644 for a new one.
            append: Add to the end of the file itself instead.
            exclusive: Fail if something is there.
            atomic: False writes into the file itself, so that other names of it see the change.
            sync: Return only when it is on the disk.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            DiskFull: The sandbox's disk has no room.
            FileExists: Something is there, under `exclusive`.
            IsADirectory: A directory is there.
            FileError: It may not be written.
        """
        self._put(
            path,
            data,
            None,
            query(path, user)
            + ([("mode", f"{mode:o}")] if mode is not None else [])
            + [
                (name, word)
                for name, word, wanted in (
                    ("append", "true", append),
                    ("create", "new", exclusive),
                    ("atomic", "false", not atomic),
                    ("sync", "true", sync),
                )
                if wanted
            ],
        )

    def append(self, path: str, data: Source, *, user: str | None = None) -> None:
        """Add to the end of a file, which is made where missing."""
        self.write(path, data, append=True, user=user)

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
            remote: The file there; replaced in one step if it exists.
            progress: Called with the bytes sent so far and the total.
            user: Whose home relative paths start in, and who owns what is made.
        """
        with open_local(local) as file:
            self._put(remote, file, progress, query(remote, user))

    def _put(
        self,
        path: str,
        data: Source,
        progress: Progress | None,
        parameters: list[tuple[str, str]],
    ) -> None:
        response = self._agent.open(
            "PUT",
            "files/content",
            query=parameters,
            headers=_OCTETS,
            body=body_of(data, progress),
            about=path,
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
        response = self._agent.open("GET", "files/content", query=query(remote, user), about=remote)
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
            raise cut_off("download", remote, self._agent.sandbox_id, error) from error
        finally:
            response.close()

    def hash(
        self,
        path: str,
        algorithm: Literal["sha256", "sha512"] = "sha256",
        *,
        user: str | None = None,
    ) -> str:
        """The digest of a file's content, in hexadecimal, made in the sandbox."""
        parameters = [*query(path, user), ("algorithm", algorithm)]
        reply = self._agent.rest(
            "GET", "files/hash", Digest, query=parameters, about=path, silence=None
        )
        return reply.digest


def query(path: str, user: str | None) -> list[tuple[str, str]]:
    """The parameters that every call has."""
    parameters = [("path", path)]
    return parameters if user is None else [*parameters, ("user", user)]


def cut_off(what: str, path: str, sandbox_id: str, error: ConnectionFailed) -> FileError:
    """The error for a transfer that did not come to its end."""
    message = f"the {what} of {path} was cut off: {error}"
    return FileError(message, sandbox_id=sandbox_id, path=path, code="cut_off")


def pieces(response: Response) -> Iterator[bytes]:
    """The rest of an answer, as it comes."""
    try:
        while piece := response.receive():
            yield bytes(piece)
    finally:
        response.close()


def _no_pieces() -> Iterator[bytes]:
    yield from ()
