"""Runs last: of all the sandboxes of this run, nothing is left but their records.

That the node itself goes without a trace is checked by its fixture, when it stops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wardian import Sandbox

from .host import residents
from .waiting import until


@pytest.fixture(scope="module")
def ended(node: Any) -> list[str]:
    """The ids of all sandboxes there ever were."""
    for sandbox in Sandbox.list():
        sandbox.kill()
    ids = [sandbox.id for sandbox in Sandbox.list(state="ended")]
    if not ids:
        with Sandbox.create("minimal") as sandbox:
            ids.append(sandbox.id)
    return ids


def test_no_process(node: Any, ended: list[str]) -> None:
    until(lambda: not residents(node), "the end of every sandbox's processes")


def test_no_mount(node: Any, ended: list[str]) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert [each for each in ended if each in mounts] == []


def test_no_record_wire_or_disk(node: Any, ended: list[str]) -> None:
    def left() -> list[str]:
        names = [path.name for path in node.run.rglob("*")]
        names += [path.name for path in (node.pool / "disks").iterdir()]
        return [name for name in names if any(each in name for each in ended)]

    until(lambda: not left(), "the end of every sandbox's files on the host")
