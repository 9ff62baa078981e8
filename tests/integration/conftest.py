"""One real node for all tests here, and sandboxes that end with the test that made them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from wardian import Sandbox

Make = Callable[..., Sandbox]


@pytest.fixture
def make(node: Any) -> Iterator[Make]:
    """Makes sandboxes as ``Sandbox.create`` does, from ``minimal`` unless told; ends them after."""
    made: list[Sandbox] = []

    def create(template: str = "minimal", **options: Any) -> Sandbox:
        sandbox = Sandbox.create(template, **options)
        made.append(sandbox)
        return sandbox

    yield create
    for sandbox in made:
        sandbox.kill()


@pytest.fixture(scope="module")
def base(node: Any) -> Iterator[Sandbox]:
    """A sandbox of Debian with Python and the rest, shared by the tests of one file."""
    with Sandbox.create("base", timeout=1200) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def minimal(node: Any) -> Iterator[Sandbox]:
    """A sandbox of busybox and nothing else, shared by the tests of one file."""
    with Sandbox.create("minimal", timeout=1200) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def http(node: Any) -> Iterator[httpx.Client]:
    """Plain HTTP with the node's first key, for what no SDK would send."""
    headers = {"Authorization": f"Bearer {node.api_key}"}
    with httpx.Client(base_url=node.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def unique() -> str:
    """A name no other test uses."""
    return f"t-{secrets.token_hex(6)}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is left is looked for when everything else is over."""
    items.sort(key=lambda item: Path(item.path).name == "test_leftovers.py")
