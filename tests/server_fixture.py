"""A real node for the tests: set-up, supervisor, launcher, edge and control plane, as users run it.

It gets a home, a pool and a port of its own. When the last test is over it must go without a trace:
what it leaves behind (processes, mounts, cgroups, loop devices, directories) fails the run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import IO

import pytest
from doubles.authority import Authority

from wardian.server.egress.trust import SYSTEM_BUNDLE
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
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs for servers outside, which the node of this run believes beside the real ones."""
    return Authority.new(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def node(start_node: StartNode, authority: Authority) -> Iterator[TemporaryNode]:
    """The node of this run; the SDK finds it by its environment variables."""
    bundle = SYSTEM_BUNDLE.read_text() if SYSTEM_BUNDLE.exists() else ""
    with (
        # Read by the control plane, another user, who enters no directory of pytest's.
        tempfile.NamedTemporaryFile("w", prefix="trust-", suffix=".pem") as trust,
        start_node(arguments=("--trust", _filled(trust, bundle + authority.pem))) as started,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("WARDIAN_URL", started.url)
        environment.setenv("WARDIAN_API_KEY", started.api_key)
        yield started


@pytest.fixture(scope="session")
def server(node: TemporaryNode) -> TemporaryNode:
    """Another word for ``node``."""
    return node


def _filled(file: IO[str], text: str) -> str:
    """The name of a file that holds this now, for everybody to read."""
    file.write(text)
    file.flush()
    os.fchmod(file.fileno(), 0o644)
    return file.name
