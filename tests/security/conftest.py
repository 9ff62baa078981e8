"""One node for all attacks, alone in a network of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .network import World
from .network import world as make_world


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The node's network and the double that would see whatever left it."""
    with make_world() as made:
        yield made
