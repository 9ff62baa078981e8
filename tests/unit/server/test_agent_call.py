"""What the control plane makes of an agent that answers as it likes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from wardian.server.node.agent_call import post

TOKEN = "t" * 40


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[tuple[str, int]]:
    """An agent that says the pieces to whoever comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


def opened() -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    return made


async def closed(made: socket.socket) -> None:
    """Nothing is left open, once the event loop has come to it."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert made.fileno() == -1


async def test_only_the_status_counts() -> None:
    async with answering(b"HTTP/1.1 204 No Content\r\n", b"x" * 100_000) as address:
        assert await post(opened(), address, "/init", TOKEN, b"{}") == 204


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 2040 x\r\n", b"HTTP/1.1 \r\n", b"x" * 1_000_000],
    ids=["nothing", "another protocol", "no status", "half a line", "no line"],
)
async def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    async with answering(answer) as address:
        made = opened()
        with pytest.raises((ValueError, EOFError, OSError)) as error:
            await post(made, address, "/init", TOKEN, b"{}")
        assert TOKEN not in str(error.value)
        await closed(made)


async def test_one_that_does_not_read_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        made = opened()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await post(made, silent.getsockname(), "/init", TOKEN, b"x" * 16_000_000)
        await closed(made)
