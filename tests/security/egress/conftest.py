"""Sandboxes with policies, and the names there are outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from doubles.outside import Outside

from wardian import Sandbox
from wardian.server.node.temporary import TemporaryNode

from .confined import ALLOWED, ALLOWED_ADDRESS, OTHER, OTHER_ADDRESS, Confined, Rule

Confine = Callable[[list[Rule]], Confined]


@pytest.fixture(scope="package")
def api(node: TemporaryNode) -> Iterator[httpx.Client]:
    """The node's own API, with the key that may do everything."""
    headers = {"authorization": f"Bearer {node.api_key}"}
    with httpx.Client(base_url=node.url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def doubles(outside: Outside) -> Outside:
    """The world outside, with nothing in its record yet."""
    outside.names.forget()
    outside.names.set(ALLOWED, ALLOWED_ADDRESS)
    outside.names.set(OTHER, OTHER_ADDRESS)
    outside.clear()
    return outside


@pytest.fixture
def confine(api: httpx.Client, doubles: Outside) -> Iterator[Confine]:
    """Makes a sandbox with a policy of these rules."""
    made: list[Sandbox] = []

    def make(rules: list[Rule]) -> Confined:
        sandbox = Sandbox.create("base", timeout=600)
        made.append(sandbox)
        confined = Confined(sandbox, api, doubles)
        confined.allow(rules)
        return confined

    yield make
    for sandbox in made:
        sandbox.kill()
