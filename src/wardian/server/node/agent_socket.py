"""Sockets of a sandbox's own network, from the launcher; in a thread: asyncio has no
``SCM_RIGHTS``."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from wardian.server.node import protocol

_PATIENCE = 5.0
_MOST_DESCRIPTORS = 4


class SocketRefused(Exception):
    """The launcher gave no socket: the sandbox is gone, or it can't make one now."""


async def open_socket(launcher: Path, sandbox: str) -> socket.socket:
    """A TCP socket that is not connected yet, non-blocking.

    Args:
        launcher: path of ``launcher.sock``.
        sandbox: whose network it is in.

    Raises:
        SocketRefused: there is none to have.
        OSError, EOFError, ValueError: the launcher is not there, or did not answer as it should.
    """
    opening = asyncio.get_running_loop().run_in_executor(None, _open, launcher, sandbox)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread goes on for as long as the launcher takes; nobody else would close it.
        opening.add_done_callback(_discard)
        raise


def _discard(opening: asyncio.Future[socket.socket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(launcher: Path, sandbox: str) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(str(launcher))
        connection.sendall(protocol.encode_frame(protocol.OpenSockets(sandbox, 1)))
        received, descriptors, _, _ = socket.recv_fds(connection, 64 * 1024, _MOST_DESCRIPTORS)
        try:
            body = _body(connection, received)
            reply = protocol.decode_reply(body)
            if reply.error is not None:
                raise SocketRefused(reply.error.message)
            if len(descriptors) != 1:
                raise SocketRefused(f"the launcher gave {len(descriptors)} descriptors, not one")
            opened = socket.socket(fileno=descriptors[0])
            descriptors.clear()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
    opened.setblocking(False)
    return opened


def _body(connection: socket.socket, received: bytes) -> bytes:
    while True:
        if len(received) >= protocol.HEADER:
            end = protocol.HEADER + protocol.body_length(received[: protocol.HEADER])
            if len(received) >= end:
                return received[protocol.HEADER : end]
        piece = connection.recv(64 * 1024)
        if not piece:
            raise EOFError("the launcher closed the connection")
        received += piece
