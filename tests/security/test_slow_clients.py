"""Clients that begin a request and never get on with it."""

from __future__ import annotations

import socket
from typing import Any

from .raw_http import request
from .recorder import OWN, Recorder


def test_slow_heads_hold_nobody_up(
    node: Any, first: Recorder, slow_clients: list[socket.socket]
) -> None:
    """Others are served, and half a head is cut off in the end, of either version of HTTP."""
    assert request(node.port, host=first.host).body == OWN
    assert request(node.port, "/v1/health").status == 200
    for stream in slow_clients:
        stream.settimeout(60)
        try:
            assert stream.recv(4096)[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")
        except ConnectionResetError:
            continue
