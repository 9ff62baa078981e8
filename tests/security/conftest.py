"""One node for all attacks, alone in a network of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from doubles.outside import Outside
from doubles.outside import outside as make_outside
from server_fixture import StartNode

from wardian import Sandbox
from wardian.server.node.temporary import TemporaryNode

from .network import World
from .network import world as make_world
from .recorder import FOREIGN, OWN, Recorder, recording


@pytest.fixture(scope="package")
def world() -> Iterator[World]:
    """The node's network and the double that would see whatever left it."""
    with make_world() as made:
        yield made


@pytest.fixture(scope="package")
def outside(world: World) -> Iterator[Outside]:
    """Names and servers behind the node's network."""
    with make_outside(world) as made:
        yield made


@pytest.fixture(scope="package")
def node(start_node: StartNode, world: World, outside: Outside) -> Iterator[TemporaryNode]:
    """The node under attack. This thread, too, lives in its network until the last test is over."""
    with (
        world.node.entered(),
        start_node(arguments=("--trust", str(outside.certificate))) as started,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("WARDIAN_URL", started.url)
        environment.setenv("WARDIAN_API_KEY", started.api_key)
        # Set-up has asked where the names of registries lead.
        outside.clear()
        yield started


@pytest.fixture(scope="package", autouse=True)
def slow_clients(node: TemporaryNode) -> Iterator[list[socket.socket]]:
    """Clients that send half a head before all tests; the test of them comes late enough."""
    made = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(300)]
    for index, stream in enumerate(made):
        stream.sendall(b"GET / HTTP/1.1\r\nX" if index % 2 else b"PRI * HTTP/2.0\r\n")
    yield made
    for stream in made:
        stream.close()


@pytest.fixture(scope="module")
def base(node: object) -> Iterator[Sandbox]:
    """The sandbox that is attacked from, of Debian with compilers; one per file."""
    with Sandbox.create("base", timeout=1200) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def other(node: object) -> Iterator[Sandbox]:
    """A neighbour that must notice nothing."""
    with Sandbox.create("base", timeout=1200) as sandbox:
        yield sandbox


@pytest.fixture
def first(_first: Recorder) -> Recorder:
    """A server that keeps what it is sent; nothing yet."""
    _first.heads()
    return _first


@pytest.fixture
def second(_second: Recorder) -> Recorder:
    """Another sandbox's server, which must be sent nothing."""
    _second.heads()
    return _second


@pytest.fixture(scope="module")
def _first(base: Sandbox) -> Iterator[Recorder]:
    with recording(base, OWN) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def _second(other: Sandbox) -> Iterator[Recorder]:
    with recording(other, FOREIGN) as recorder:
        yield recorder
