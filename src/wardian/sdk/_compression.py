"""Compression of archives, as bytes come: gzip always, zstd where this Python can."""

from __future__ import annotations

import importlib
import zlib
from typing import Any, Literal, Protocol

from ._errors import ConfigurationError, ProtocolError

Compression = Literal["zstd", "gzip", "none"]
_GZIP = 16 + zlib.MAX_WBITS
# What a decoder gives at once: a few bytes can expand to a thousand times as many.
_PIECE = 1024 * 1024


class Compressor(Protocol):
    """Takes plain bytes and gives compressed ones."""

    def compress(self, data: bytes, /) -> bytes:
        """What comes of `data` so far."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


class _Plain:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError:
        return None


def best(local: bool, *, sending: bool) -> Compression:
    """What suits the way: on this machine compressing takes longer than sending.

    Args:
        local: Whether the server is on this machine.
        sending: Whether this side compresses. The agent makes gzip several times as fast as zstd.
    """
    if local:
        return "none"
    return "zstd" if sending and _zstandard() else "gzip"


def compressor(compression: Compression) -> Compressor:
    """Compresses in the given way.

    Raises:
        ConfigurationError: zstd was asked for, and the package `zstandard` is not installed.
    """
    if compression == "none":
        return _Plain()
    if compression == "gzip":
        return zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    zstandard = _zstandard()
    if zstandard is None:
        raise ConfigurationError(
            "this Python can't compress with zstd", hint="pip install zstandard, or use gzip"
        )
    return zstandard.ZstdCompressor(level=1).compressobj()


class Decompressor:
    """Expands what it is fed, in pieces of bounded size.

    Raises:
        ConfigurationError: zstd was asked for, and the package `zstandard` is not installed.
    """

    def __init__(self, compression: Compression) -> None:
        self._kind = compression
        self._zstandard = _zstandard()
        self._inner: Any = None
        self._failures: tuple[type[Exception], ...] = (zlib.error,)
        if compression == "zstd":
            # Says so at once.
            compressor("zstd")
            self._failures = (self._zstandard.ZstdError,)

    def feed(self, data: bytes) -> list[bytes]:
        """What comes of `data`.

        Raises:
            ProtocolError: It is not so compressed.
        """
        if self._kind == "none":
            return [data] if data else []
        try:
            return self._zstd(data) if self._kind == "zstd" else self._gzip(data)
        except self._failures as error:
            raise ProtocolError(f"the archive is damaged: {error}") from error

    def _gzip(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        while data:
            if self._inner is None or self._inner.eof:
                self._inner = zlib.decompressobj(_GZIP)
            pieces.append(self._inner.decompress(data, _PIECE))
            data = self._inner.unconsumed_tail or self._inner.unused_data
        return pieces

    def _zstd(self, data: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        while data:
            # The agent makes a frame of each mebibyte, so what one gives is bounded.
            if self._inner is None or self._inner.eof:
                decoder = self._zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)
                self._inner = decoder.decompressobj()
            pieces.append(self._inner.decompress(data))
            data = self._inner.unused_data
        return pieces
