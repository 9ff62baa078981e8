"""Bodies between edge and handler, each no faster than it is taken at its other end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable

from wardian.handlers import _frames
from wardian.handlers._frames import FIRST_CREDIT, FrameError, Kind
from wardian.handlers._messages import UpstreamFailed

Write = Callable[[bytes], None]
# Credit is given again in portions of at least this many bytes.
_PORTION = 64 * 1024
# The largest piece of a body in one frame, in bytes.
_PIECE = 64 * 1024


class Incoming:
    """A body that the edge sends; it can be iterated once.

    Args:
        kind: of its frames.
        write: sends a frame to the edge.
        credit: how many bytes may come unasked.
        length: in bytes, where it is known.
    """

    def __init__(self, kind: Kind, write: Write, credit: int, length: int | None) -> None:
        self.length = length
        self.touched = False
        self._kind = kind
        self._write = write
        self._credit = credit
        self._taken = 0
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._failure: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, piece: bytes) -> None:
        """Takes what came.

        Raises:
            FrameError: more than there was credit for.
        """
        self._credit -= len(piece)
        if self._credit < 0 or self._ended:
            raise FrameError("bytes without credit")
        self._pieces.append(piece)
        self._wake()

    def end(self, failure: str | None = None) -> None:
        """Nothing more comes; ``failure``: and not because it is complete."""
        self._ended, self._failure = True, failure
        self._wake()

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self.touched:
            raise RuntimeError("a body can be read once as a stream")
        self.touched = True
        if self._credit == 0:
            self._give(FIRST_CREDIT)
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                yield piece
                self._taken += len(piece)
                if self._taken >= _PORTION and not self._ended:
                    self._give(self._taken)
                    self._taken = 0
            if self._ended:
                break
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._failure is not None:
            raise UpstreamFailed(self._failure)

    def _give(self, count: int) -> None:
        self._credit += count
        self._write(_frames.credit_frame(self._kind, count))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Outgoing:
    """A body on its way to the edge.

    Args:
        kind: of its frames.
        write: sends a frame to the edge.
    """

    def __init__(self, kind: Kind, write: Write) -> None:
        self._kind = kind
        self._write = write
        self._credit = FIRST_CREDIT
        self._waiter: asyncio.Future[None] | None = None

    def more(self, credit: int) -> None:
        """So many more bytes may go."""
        self._credit += credit
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def send(self, body: bytes | AsyncIterable[bytes]) -> None:
        """Sends all of it, without the frame at its end."""
        if isinstance(body, bytes):
            await self._piece(body)
            return
        async for piece in body:
            if not isinstance(piece, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(f"a body is made of bytes, not {type(piece).__name__}")
            await self._piece(bytes(piece))

    async def _piece(self, piece: bytes) -> None:
        start = 0
        while start < len(piece):
            while self._credit == 0:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            count = min(len(piece) - start, self._credit, _PIECE)
            self._credit -= count
            self._write(_frames.frame(self._kind, piece[start : start + count]))
            start += count
