"""A connection that has changed to WebSocket."""

from __future__ import annotations

import time
from collections import deque

from .._errors import ConnectionFailed, RequestTimeout
from .._net import AsyncTurn
from .._websocket import Message, MessageDecoder, Opcode, close_frame, frame
from .transport import AsyncConnection

# The other side has this long to take what is sent.
_SEND_TIMEOUT = 300.0
# A farewell is not waited for long.
_CLOSE_TIMEOUT = 2.0


class AsyncWebSocket:
    """Messages both ways. One may receive while others send.

    Args:
        connection: On which the other side has agreed to speak WebSocket.
        silence: Seconds without a sign of life after which the connection is taken for dead.
    """

    def __init__(self, connection: AsyncConnection, silence: float) -> None:
        self._connection = connection
        self._silence = silence
        self._decoder = MessageDecoder()
        self._messages: deque[Message] = deque()
        self._turn = AsyncTurn()
        self._open = True

    async def send(self, opcode: Opcode, data: bytes) -> None:
        """Send one message.

        Raises:
            ConnectionFailed: The connection is closed or broken.
        """
        if not self._open:
            raise ConnectionFailed("the WebSocket is closed")
        try:
            # Two frames at once would end up in each other.
            async with self._turn:
                await self._connection.stream.send(frame(opcode, data), _SEND_TIMEOUT)
        except OSError as error:
            self.abort()
            raise ConnectionFailed(f"the WebSocket broke: {error}") from error

    async def receive(self, timeout: float | None = None) -> Message:
        """The next message that is no ping or pong; a close is the last.

        Args:
            timeout: Seconds to wait for it; None waits as long as there are signs of life.

        Raises:
            RequestTimeout: Nothing came in time; the connection is as it was.
            ConnectionFailed: The connection is closed or broken.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            while self._messages:
                message = self._messages.popleft()
                if message.opcode is Opcode.PING:
                    await self.send(Opcode.PONG, message.data)
                elif message.opcode is not Opcode.PONG:
                    return message
            await self._read(deadline)

    async def _read(self, deadline: float | None) -> None:
        if not self._open:
            raise ConnectionFailed("the WebSocket is closed")
        left = self._silence
        if deadline is not None:
            left = min(left, max(deadline - time.monotonic(), 0.001))
        try:
            data = await self._connection.receive(left)
        except TimeoutError:
            if deadline is not None and time.monotonic() >= deadline:
                raise RequestTimeout("nothing came over the WebSocket in time") from None
            self.abort()
            raise ConnectionFailed(
                f"no sign of life over the WebSocket for {self._silence} s"
            ) from None
        except OSError as error:
            self.abort()
            raise ConnectionFailed(f"the WebSocket broke: {error}") from error
        if not data:
            self.abort()
            raise ConnectionFailed("the WebSocket was cut off")
        try:
            self._messages.extend(self._decoder.feed(data))
        except BaseException:
            self.abort()
            raise

    async def close(self) -> None:
        """Say farewell and close; what has not been received is lost."""
        if not self._open:
            return
        try:
            async with self._turn:
                await self._connection.stream.send(close_frame(), _CLOSE_TIMEOUT)
        except OSError:
            # It is gone already, which is what was wanted.
            pass
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._open:
            self._open = False
            self._connection.stream.close()
