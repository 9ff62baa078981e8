"""A real Redis on loopback, from Debian's package."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from .waiting import until


@contextmanager
def redis_server(password: str) -> Iterator[str]:
    """Runs one that keeps nothing on disk; yields its ``host:port``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--loglevel", "warning"]
    with tempfile.TemporaryDirectory(prefix="wardian-redis-") as directory:
        command = ["redis-server", *settings, "--dir", directory, "--requirepass", password]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until(lambda: socket.create_connection(("127.0.0.1", port)).close() is None, "redis")
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)
