"""A real node for the tests: set-up, supervisor, launcher, edge and control plane, as users run it.

It gets a home, a pool and a port of its own. When the last test is over it must go without a trace:
what it leaves behind (processes, mounts, cgroups, loop devices, directories) fails the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import pytest

from wardian.server.node import temporary
from wardian.server.node.temporary import TemporaryNode

StartNode = Callable[..., AbstractContextManager[TemporaryNode]]


@pytest.fixture(scope="session")
def start_node() -> StartNode:
    """Starts one more node; a context manager. Takes what ``temporary.running`` takes."""
    if os.geteuid() != 0:
        pytest.fail("these tests need root: real namespaces, real mounts; run `make test`")
    return partial(temporary.running, templates=("base", "minimal"))


@pytest.fixture(scope="session")
def node(start_node: StartNode) -> Iterator[TemporaryNode]:
    """The node of this run; the SDK finds it by its environment variables."""
    with start_node() as started, pytest.MonkeyPatch.context() as environment:
        environment.setenv("WARDIAN_URL", started.url)
        environment.setenv("WARDIAN_API_KEY", started.api_key)
        yield started


@pytest.fixture(scope="session")
def server(node: TemporaryNode) -> TemporaryNode:
    """Another word for ``node``."""
    return node
