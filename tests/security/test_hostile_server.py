"""What a program in a sandbox can do to the edge that forwards to it: nothing that lasts.

The agent itself can't be replaced (test_kernel_walls), so a lying agent is the same as any other
server inside: this one stands for both.
"""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration import host
from integration.waiting import until

from wardian import Sandbox

from . import attack
from .raw_http import request
from .recorder import FOREIGN, Recorder

_PORT = 8200
_MEBIBYTE = 1024 * 1024
# The edge keeps at most a buffer per connection; 256 MiB of harm must not stay in it.
_ROOM = 48 * _MEBIBYTE


def _harms() -> list[str]:
    path = Path(__file__).parent / "attacks" / "hostile_server.py"
    spec = importlib.util.spec_from_file_location("hostile_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.HARMS)


@pytest.fixture(scope="module")
def hostile(base: Sandbox) -> Iterator[str]:
    """The host of the hostile server."""
    path = attack.put(base, "hostile_server.py")
    with attack.serving(base, ["python3", path, str(_PORT)]):
        yield base.host(_PORT)


@pytest.fixture(scope="module")
def edge(node: Any) -> host.HostProcess:
    return host.part_of(node.supervisor, "edge")


@pytest.mark.parametrize("harm", _harms())
def test_the_edge_outlives_it(
    node: Any, hostile: str, edge: host.HostProcess, other: Sandbox, harm: str
) -> None:
    before = edge.resident_bytes
    _take_some(node.port, hostile, f"/{harm}")
    # A second caller over what may be a kept connection gets its own answer, not the rest of one.
    assert request(node.port, "/fine", host=hostile).body == b"fine"
    assert other.run("echo other").stdout == "other\n"
    assert host.part_of(node.supervisor, "edge").pid == edge.pid
    assert edge.resident_bytes - before < _ROOM


def _take_some(port: int, host_name: str, path: str) -> None:
    """Asks and reads up to 256 KiB, then leaves without a word."""
    text = f"GET {path} HTTP/1.1\r\nHost: {host_name}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=3) as stream:
        stream.sendall(text.encode())
        taken = bytearray()
        with contextlib.suppress(TimeoutError, ConnectionError):
            while len(taken) < _MEBIBYTE // 4 and (piece := stream.recv(65536)):
                taken += piece
        assert b"poison" not in taken


def test_interim_answers_without_end_are_cut_off(node: Any, hostile: str) -> None:
    """The edge reads no more of them than of one head."""
    for harm in ("endless-1xx", "endless-100"):
        assert request(node.port, f"/{harm}", host=hostile).status == 502


@pytest.mark.parametrize("harm", ["endless-headers", "endless-1xx", "endless-body"])
def test_many_at_once_do_not_fill_the_edge(
    node: Any, hostile: str, edge: host.HostProcess, second: Recorder, harm: str
) -> None:
    """Fifty callers that ask and read nothing; the visitors of others are served meanwhile."""
    before = edge.resident_bytes
    callers = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(50)]
    try:
        for caller in callers:
            caller.sendall(f"GET /{harm} HTTP/1.1\r\nHost: {hostile}\r\n\r\n".encode())
        assert request(node.port, host=second.host).body == FOREIGN
        assert edge.resident_bytes - before < 4 * _ROOM
    finally:
        for caller in callers:
            caller.close()
    assert host.part_of(node.supervisor, "edge").pid == edge.pid


def test_an_upgrade_nobody_asked_for_is_no_tunnel(node: Any, hostile: str) -> None:
    """Bytes behind a false 101 must not be taken as a connection to something else."""
    for harm in ("unasked-upgrade", "other-upgrade"):
        assert request(node.port, f"/{harm}", host=hostile).status == 502


def test_a_head_that_never_comes_ends_with_its_caller(
    node: Any, base: Sandbox, edge: host.HostProcess
) -> None:
    """A server that takes requests and says nothing costs the edge only what callers hold open."""
    script = (
        "import socket,time\n"
        "s=socket.create_server(('0.0.0.0',8201),backlog=128)\n"
        "print('ready',flush=True)\n"
        "kept=[]\n"
        "while True: kept.append(s.accept()[0])\n"
    )
    descriptors = Path(f"/proc/{edge.pid}/fd")
    text = f"GET / HTTP/1.1\r\nHost: {base.host(8201)}\r\n\r\n".encode()
    with attack.serving(base, ["python3", "-c", script]):
        before = len(list(descriptors.iterdir()))
        callers = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(40)]
        for caller in callers:
            caller.sendall(text)
        for caller in callers:
            caller.close()
        until(
            lambda: len(list(descriptors.iterdir())) <= before + 8,
            "the edge closes what nobody waits for",
        )
