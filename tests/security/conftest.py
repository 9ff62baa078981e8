"""One node for all attacks, alone in a network of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from wardian import Sandbox

from .network import World
from .network import world as make_world
from .recorder import FOREIGN, OWN, Recorder, recording


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The node's network and the double that would see whatever left it."""
    with make_world() as made:
        yield made


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


@pytest.fixture(scope="module")
def first(base: Sandbox) -> Iterator[Recorder]:
    """A server that keeps what it is sent."""
    with recording(base, OWN) as recorder:
        yield recorder


@pytest.fixture(scope="module")
def second(other: Sandbox) -> Iterator[Recorder]:
    """Another sandbox's server, which must be sent nothing."""
    with recording(other, FOREIGN) as recorder:
        yield recorder
