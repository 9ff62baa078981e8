"""Runs last: of all the sandboxes of this run, nothing is left but their records.

That the node itself goes without a trace is checked by its fixture, when it stops.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wardian import Sandbox

from .host import agents, processes
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


def test_no_agent(node: Any, ended: list[str]) -> None:
    until(lambda: not agents(node), "the end of every agent")


def test_no_process_but_those_parked_for_the_next_sandbox(node: Any, ended: list[str]) -> None:
    lowest = node.uid_base
    highest = lowest + node.configuration.uid_slots * 65536

    def strangers() -> list[int]:
        return [each.pid for each in processes() if lowest <= _uid(each.pid) < highest]

    until(lambda: not strangers(), "the end of every sandbox's processes")


def test_no_mount(node: Any, ended: list[str]) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert [each for each in ended if each in mounts] == []


def test_no_record_wire_or_disk(node: Any, ended: list[str]) -> None:
    def left() -> list[str]:
        names = [path.name for path in node.run.rglob("*")]
        names += [path.name for path in (node.pool / "disks").iterdir()]
        return [name for name in names if any(each in name for each in ended)]

    until(lambda: not left(), "the end of every sandbox's files on the host")


def _uid(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(status.partition("\nUid:")[2].split()[0])
