"""Takes in one layer: decompresses, hashes and spools it, so that its id is known before import."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Protocol, Self

import zstandard

from wardian.server.errors import InvalidRequest, NoSpace, TooLarge

Encoding = Literal["zstd", "gzip"]

#: Unpacked size no layer may pass.
LARGEST_LAYER: Final = 64 << 30
#: What spooling leaves free on the host's disk.
RESERVE: Final = 1 << 30
#: Work goes to a thread in pieces of at least this size.
_BATCH: Final = 1 << 20
#: A zstd block of 4 bytes can unpack to 128 KiB: small steps bound what one step may give.
_STEP: Final = 4 << 10
_SPACE_CHECK: Final = 64 << 20
_LARGEST_WINDOW: Final = 128 << 20


class LayerIntake:
    """An async context manager; feed it with :meth:`write`, then :meth:`finish`.

    Args:
        directory: where to spool; the file has no name, so nothing is left behind.
        encoding: compression of what is written; ``None``: none.
        largest: unpacked size in bytes that is refused.
    """

    def __init__(
        self, directory: Path, encoding: Encoding | None, largest: int = LARGEST_LAYER
    ) -> None:
        self._directory = directory
        self._largest = largest
        self._packed = hashlib.sha256()
        self._unpacked = hashlib.sha256()
        self._decoder = _decoder(encoding)
        self._waiting = bytearray()
        self._file: IO[bytes] | None = None
        self._since_check = 0
        self.packed_bytes = 0
        self.unpacked_bytes = 0

    async def __aenter__(self) -> Self:
        self._file = await asyncio.to_thread(tempfile.TemporaryFile, dir=self._directory)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            await asyncio.to_thread(self._file.close)

    async def write(self, chunk: bytes) -> None:
        """Takes the next bytes.

        Raises:
            InvalidRequest: they are not what the encoding says.
            TooLarge: the layer is larger than allowed.
            NoSpace: the host's disk is nearly full.
        """
        self._waiting += chunk
        if len(self._waiting) >= _BATCH:
            await self._flush()

    async def finish(self) -> str:
        """Ends the stream.

        Returns:
            The layer's id: SHA-256 of the unpacked bytes, hexadecimal.

        Raises:
            InvalidRequest: the stream stops in the middle.
        """
        await self._flush()
        if not self._decoder.complete:
            raise InvalidRequest("the compressed stream is cut off", "send the whole file")
        return self._unpacked.hexdigest()

    @property
    def packed_digest(self) -> str:
        """SHA-256 of what was written, hexadecimal; complete after :meth:`finish`."""
        return self._packed.hexdigest()

    def descriptor(self) -> int:
        """The spooled tar, at its beginning; valid until the context ends."""
        file = self._spool()
        file.flush()
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return file.fileno()

    def _spool(self) -> IO[bytes]:
        if self._file is None:
            raise RuntimeError("a LayerIntake is used outside its context")
        return self._file

    async def _flush(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if data:
            await asyncio.to_thread(self._take, data)

    def _take(self, data: bytes) -> None:
        self._packed.update(data)
        self.packed_bytes += len(data)
        for piece in self._decoder.decode(data):
            self.unpacked_bytes += len(piece)
            if self.unpacked_bytes > self._largest:
                raise TooLarge(f"the layer unpacks to more than {self._largest} bytes")
            self._check_space(len(piece))
            self._unpacked.update(piece)
            self._spool().write(piece)

    def _check_space(self, count: int) -> None:
        self._since_check -= count
        if self._since_check > 0:
            return
        self._since_check = _SPACE_CHECK
        state = os.fstatvfs(self._spool().fileno())
        if state.f_bavail * state.f_frsize < RESERVE + _SPACE_CHECK:
            raise NoSpace("the node's disk has no room to take a layer in", "make room on the node")


class _Decoder(Protocol):
    @property
    def complete(self) -> bool: ...

    def decode(self, data: bytes) -> Iterator[bytes]: ...


def _decoder(encoding: Encoding | None) -> _Decoder:
    if encoding == "zstd":
        return _Zstd()
    return _Gzip() if encoding == "gzip" else _Plain()


class _Plain:
    complete = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield data


class _Zstd:
    """Frames may follow one another, as ``zstd`` and its seekable variants write them."""

    def __init__(self) -> None:
        self._context = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
        self._frame = self._context.decompressobj()
        self.complete = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        view = memoryview(data)
        for start in range(0, len(view), _STEP):
            rest = bytes(view[start : start + _STEP])
            while rest:
                if self._frame.eof:
                    self._frame = self._context.decompressobj()
                try:
                    piece = self._frame.decompress(rest)
                except zstandard.ZstdError as error:
                    raise InvalidRequest(f"this is not a zstd stream: {error}") from error
                self.complete = self._frame.eof
                rest = self._frame.unused_data if self.complete else b""
                if piece:
                    yield piece


class _Gzip:
    """Members may follow one another; zeros after the last are padding."""

    _PIECE: Final = 1 << 20

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._fresh = True
        self._some = False

    @property
    def complete(self) -> bool:
        return self._some and (self._fresh or self._member.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        rest = data
        while rest:
            if self._member.eof:
                self._member, self._fresh = zlib.decompressobj(wbits=31), True
            if self._fresh and self._some:
                rest = rest.lstrip(b"\0")
                if not rest:
                    return
            try:
                piece = self._member.decompress(rest, self._PIECE)
            except zlib.error as error:
                raise InvalidRequest(f"this is not a gzip stream: {error}") from error
            self._fresh, self._some = False, True
            rest = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if piece:
                yield piece
