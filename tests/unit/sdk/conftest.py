"""One double per test, found through the environment as users do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .double import KEY, Double, World


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    folder = tmp_path / "inside"
    folder.mkdir()
    with Double(folder) as server:
        monkeypatch.setenv("WARDIAN_URL", server.url)
        monkeypatch.setenv("WARDIAN_API_KEY", KEY)
        yield server


@pytest.fixture
def world(double: Double) -> World:
    return double.world
