"""Whole directories: archives in and out of a sandbox, and copies of directories."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from .. import _compression
from .._body import Progress, Source, body_of
from .._compression import Compression
from .._errors import ConnectionFailed, FileError, ProtocolError
from .._files import TransferReport, with_path
from .._pack import directory_at, pack
from .._tarstream import TarReader
from .._unpack import DirectoryWriter, LimitExceeded
from .agent import AsyncAgent
from .file_content import READ_LIMIT, cut_off, pieces, query

Links = Literal["inside", "any"]


class AsyncFileArchives:
    """Copies directories of one sandbox."""

    def __init__(self, agent: AsyncAgent) -> None:
        self._agent = agent

    async def archive(
        self,
        path: str = "",
        compression: Compression = "gzip",
        *,
        exclude: Sequence[str] = (),
        user: str | None = None,
    ) -> AsyncIterator[bytes]:
        """A file or a directory as a tar, in pieces, made as it is sent.

        Args:
            path: The file or directory; empty is the default working directory.
            compression: `gzip`, `zstd` (slower to make there) or `none`.
            exclude: No files and directories that match one of these globs.
            user: Whose home relative paths start in.
        """
        parameters = [
            *query(path, user),
            ("compression", compression),
            *(("exclude", glob) for glob in exclude),
        ]
        response = await self._agent.open("GET", "files/archive", query=parameters, about=path)
        return pieces(response)

    async def unpack(
        self,
        data: Source,
        path: str = "",
        compression: Compression | None = None,
        *,
        links: Links = "inside",
        user: str | None = None,
    ) -> TransferReport:
        """Unpack a tar in the sandbox as it comes, in constant memory.

        Files that are there are replaced. Nothing is made outside the directory, whatever the
        archive holds; set-id bits and owners are left out.

        Args:
            data: The archive: bytes, a file open for reading in binary, or an iterable of bytes.
            path: The directory; made where missing.
            compression: `zstd`, `gzip` or `none`; None is told by the first bytes.
            links: `any` also makes symbolic links that lead out of the directory; else they are
                left out and reported.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            DiskFull: The sandbox's disk has no room; what was unpacked so far stays.
            FileError: It is no archive, or names something outside (code `invalid_archive`).
        """
        parameters = query(path, user)
        if compression is not None:
            parameters.append(("compression", compression))
        if links != "inside":
            parameters.append(("links", links))
        response = await self._agent.open(
            "PUT",
            "files/archive",
            query=parameters,
            headers={"Content-Type": "application/octet-stream"},
            body=body_of(data),
            about=path,
            silence=None,
        )
        content = await response.read(READ_LIMIT)
        report = msgspec.json.decode(content, type=TransferReport)
        return msgspec.structs.replace(report, skipped=[with_path(each) for each in report.skipped])

    async def upload_dir(
        self,
        local: str | os.PathLike[str],
        remote: str,
        progress: Progress | None = None,
        *,
        exclude: Sequence[str] = (),
        links: Links = "inside",
        compression: Compression | None = None,
        user: str | None = None,
    ) -> TransferReport:
        """Copy a local directory into the sandbox, with all it holds, in constant memory.

        Args:
            local: The directory here.
            remote: The directory there; made where missing, what is in it stays or is replaced.
            progress: Called with the bytes of content sent so far and the total.
            exclude: Shell patterns of what to leave out: without a slash for names at any depth,
                else for paths from the directory on.
            links: `any` also makes symbolic links that lead out of the directory; else they are
                left out and reported.
            compression: `zstd`, `gzip` or `none`; None is what suits the way.
            user: Whose home relative paths start in, and who owns what is made.

        Raises:
            NotADirectoryError: `local` is no directory.
        """
        compression = compression or _compression.best(self._agent.is_local, sending=True)
        packed = pack(directory_at(local), exclude, progress)
        return await self.unpack(
            _compressed(packed, compression), remote, compression, links=links, user=user
        )

    async def download_dir(
        self,
        remote: str,
        local: str | os.PathLike[str],
        progress: Progress | None = None,
        *,
        exclude: Sequence[str] = (),
        max_bytes: int | None = None,
        max_entries: int | None = None,
        compression: Compression | None = None,
        user: str | None = None,
    ) -> TransferReport:
        """Copy a directory out of the sandbox, with all it holds, in constant memory.

        Nothing is made outside `local`, whatever the sandbox sends, nor through a link that lies
        there. Left out and reported are links that may lead out of the directory, devices and other
        special files; set-id bits are not kept. Files that are there are replaced.

        Args:
            remote: The directory there.
            local: The directory here; made where missing.
            progress: Called with the bytes of content received so far and None.
            exclude: No files and directories that match one of these globs.
            max_bytes: How large all files may be together, holes included; None is no limit.
            max_entries: How many entries there may be; None is no limit.
            compression: `zstd`, `gzip` or `none`; None is what suits the way.
            user: Whose home relative paths start in.

        Raises:
            NotADirectory: `remote` is no directory.
            FileError: It is larger than allowed (code `too_large`), or the transfer was cut off;
                what has come so far stays.
        """
        compression = compression or _compression.best(self._agent.is_local, sending=False)
        decoder = _compression.Decompressor(compression)
        reader = TarReader()
        parameters = [
            *query(remote, user),
            ("compression", compression),
            ("directory", "true"),
            *(("exclude", glob) for glob in exclude),
        ]
        response = await self._agent.open("GET", "files/archive", query=parameters, about=remote)
        try:
            with DirectoryWriter(
                Path(local), max_bytes=max_bytes, max_entries=max_entries
            ) as writer:
                while piece := await response.receive():
                    for plain in decoder.feed(bytes(piece)):
                        for event in reader.feed(plain):
                            writer.take(event)
                    if progress:
                        progress(writer.written, None)
                if not reader.ended:
                    raise ProtocolError("the archive ends too early")
                return writer.report()
        except ConnectionFailed as error:
            raise cut_off("download", remote, self._agent.sandbox_id, error) from error
        except LimitExceeded as error:
            raise FileError(
                f"{remote} is larger than allowed: {error}",
                sandbox_id=self._agent.sandbox_id,
                path=remote,
                code="too_large",
            ) from error
        finally:
            response.close()


def _compressed(source: Iterator[bytes], compression: Compression) -> Iterator[bytes]:
    """`source` compressed, in pieces large enough to send."""
    compressor = _compression.compressor(compression)
    waiting: list[bytes] = []
    size = 0
    for piece in source:
        waiting.append(compressor.compress(piece))
        size += len(waiting[-1])
        if size >= 256 * 1024:
            yield b"".join(waiting)
            waiting, size = [], 0
    yield b"".join([*waiting, compressor.flush()])
