"""One HTTP request to a sandbox's agent. What it answers is not trusted: only the status is read,
and of the head no more than :data:`MOST_HEAD` bytes."""

from __future__ import annotations

import asyncio
import re
import socket

MOST_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")


async def post(
    opened: socket.socket, address: tuple[str, int], path: str, token: str, body: bytes
) -> int:
    """Sends JSON and returns the HTTP status of the answer; the caller bounds the time.

    Args:
        opened: a socket that is not connected, closed in any case.
        address: where to connect it to.
        path: of the request.
        token: the agent's.
        body: JSON.

    Raises:
        OSError: it can't be connected, or the connection broke.
        EOFError, ValueError: what came back is no answer.
    """
    try:
        await asyncio.get_running_loop().sock_connect(opened, address)
        reader, writer = await asyncio.open_connection(sock=opened, limit=MOST_HEAD)
    except BaseException:
        opened.close()
        raise
    try:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n"
            f"X-Access-Token: {token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        try:
            line = await reader.readuntil(b"\r\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("the answer's first line is too long") from error
        match = _STATUS.match(line)
        if match is None:
            raise ValueError("the answer is no HTTP")
        return int(match[1])
    finally:
        # Not close: that would wait until an agent that does not read has read everything.
        writer.transport.abort()
