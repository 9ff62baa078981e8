"""Hands a descriptor to the launcher, in a thread: asyncio has no ``SCM_RIGHTS``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

from wardian.server.node import protocol


async def send(
    path: Path, request: protocol.ImportLayer, descriptor: int, deadline: float
) -> bytes:
    """Sends one request with ``descriptor`` beside it and returns the reply's body.

    Args:
        path: the launcher's socket.
        request: what to ask.
        descriptor: stays the caller's to close.
        deadline: seconds for each wait.

    Raises:
        OSError: no connection, or it broke, or the deadline passed.
        EOFError: closed before the whole reply was there.
        FrameTooLong: the reply promises too much.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(deadline)
    # The thread may outlive a cancelled caller, so it gets a descriptor of its own.
    duplicate = os.dup(descriptor)
    frame = protocol.encode_frame(request)
    try:
        return await asyncio.to_thread(_exchange, connection, path, frame, duplicate)
    except asyncio.CancelledError:
        # Wakes the thread, which closes both; the launcher sees the end and drops the layer.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        raise


def _exchange(connection: socket.socket, path: Path, frame: bytes, descriptor: int) -> bytes:
    with connection:
        try:
            connection.connect(str(path))
            sent = socket.send_fds(connection, [frame], [descriptor])
            connection.sendall(frame[sent:])
        finally:
            os.close(descriptor)
        header = _receive(connection, protocol.HEADER)
        return _receive(connection, protocol.body_length(header))


def _receive(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        piece = connection.recv(length - len(received))
        if not piece:
            raise EOFError("the launcher closed the connection")
        received += piece
    return bytes(received)
