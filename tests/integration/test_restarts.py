"""Any part of a node may be killed: sandboxes run on, and records are true again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from wardian import Sandbox, SandboxInfo, WardianError

from .conftest import Make
from .host import agent_of, agents, alive, inside, part_of
from .waiting import until

COUNTER = """
n=0
while :; do
    n=$((n+1))
    echo $n > /tmp/count.new
    mv /tmp/count.new /tmp/count
    sleep 0.02
done
"""
PARTS = ("control", "edge", "launcher")


@pytest.fixture
def counting(make: Make) -> Sandbox:
    """A sandbox in which a process counts."""
    sandbox = make(timeout=600)
    sandbox.spawn(COUNTER).disconnect()
    until(lambda: sandbox.files.read("/tmp/count"), "the counter")
    return sandbox


@pytest.mark.parametrize("parts", [(part,) for part in PARTS] + [PARTS], ids="+".join)
def test_a_sandbox_lives_through_the_death_of(
    node: Any, counting: Sandbox, make: Make, parts: tuple[str, ...], unique: str
) -> None:
    agent = agent_of(node, counting.id)
    before = [(each.pid, each.config.args) for each in counting.processes()]
    assert len(before) == 1
    ended = make()
    ended.kill()
    count = int(counting.files.read("/tmp/count"))

    _kill(node, *parts)

    until(lambda: int(counting.files.read("/tmp/count")) > count, "counting goes on and is seen")
    assert agent_of(node, counting.id) == agent
    assert [(each.pid, each.config.args) for each in counting.processes()] == before
    until(lambda: _record(counting).state == "running", "a true record")
    until(lambda: _record(ended).state == "ended", "a true record of the ended one")

    fresh = until(lambda: make(labels={"after": unique}), "a create")
    assert fresh.run("echo new").stdout == "new\n"
    assert counting.run("echo old").stdout == "old\n"
    assert counting.usage().pids
    ids = {each.id for each in Sandbox.list()}
    assert {counting.id, fresh.id} <= ids and ended.id not in ids
    fresh.kill()
    processes = inside(node, counting.id)
    assert len(processes) >= 2
    counting.kill()
    assert alive(processes) == []
    assert agents(node) == set(), "no agent that nobody knows of"


@pytest.mark.parametrize("parts", [("control",), ("launcher",), PARTS], ids="+".join)
def test_what_ended_while_nobody_looked_is_recorded(
    node: Any, make: Make, parts: tuple[str, ...]
) -> None:
    sandbox = make(timeout=600)
    sandbox.spawn(["sleep", "1000"]).disconnect()
    processes, agent = inside(node, sandbox.id), agent_of(node, sandbox.id)
    with _held_down(node, *parts):
        os.kill(agent.pid, signal.SIGKILL)
        until(lambda: not alive(processes), "the end of all in it")
    until(lambda: _record(sandbox).state == "ended", "its end in the record")
    record = _record(sandbox)
    assert (record.reason or "").startswith("failed"), record.reason
    assert record.ended_at is not None


def test_a_timeout_that_passed_while_the_control_plane_was_down_is_kept(
    node: Any, make: Make
) -> None:
    sandbox = make(timeout=1)
    processes = inside(node, sandbox.id)
    with _held_down(node, "control"):
        until(lambda: _past(sandbox), "the moment it should end")
    until(lambda: _record(sandbox).state == "ended", "its end")
    assert _record(sandbox).reason == "expired"
    assert alive(processes) == []


def test_an_agent_that_dies_ends_its_sandbox_with_a_reason(node: Any, make: Make) -> None:
    sandbox = make()
    os.kill(agent_of(node, sandbox.id).pid, signal.SIGKILL)
    until(lambda: _record(sandbox).state == "ended", "its end in the record")
    assert (_record(sandbox).reason or "").startswith("failed")


def test_connections_during_an_edge_restart_are_served_not_refused(node: Any) -> None:
    for _ in range(5):
        _kill(node, "edge")
        answer = httpx.get(f"{node.url}/v1/health", timeout=30, trust_env=False)
        assert answer.status_code == 200


def test_traffic_of_running_sandboxes_needs_no_control_plane(node: Any, counting: Sandbox) -> None:
    with _held_down(node, "control"):
        assert counting.run("echo hi").stdout == "hi\n"
        count = int(counting.files.read("/tmp/count"))
        until(lambda: int(counting.files.read("/tmp/count")) > count, "counting seen")


def test_creates_that_a_restart_cuts_through_leave_nothing_half_made(
    node: Any, unique: str
) -> None:
    """Whatever the callers were told, afterwards each record is running with an agent, or ended."""

    def create(_: int) -> None:
        with suppress(WardianError):
            Sandbox.create("minimal", labels={"run": unique})

    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(create, number) for number in range(12)]
        _kill(node, "launcher", "control")
        for future in futures:
            future.result()

    def settled() -> bool:
        states = {each.state for each in Sandbox.list(labels={"run": unique})}
        return states <= {"running"}

    until(settled, "no record in between")
    running = list(Sandbox.list(labels={"run": unique}))
    assert {agent_of(node, sandbox.id).pid for sandbox in running} == agents(node)
    for sandbox in running:
        sandbox.kill()
    assert agents(node) == set()
    for sandbox in Sandbox.list(labels={"run": unique}, state="ended"):
        assert sandbox.info().reason


def _record(sandbox: Sandbox) -> SandboxInfo:
    return Sandbox.get(sandbox.id).info()


def _past(sandbox: Sandbox) -> bool:
    expires = sandbox._info.expires_at
    assert expires is not None
    return datetime.now(UTC) > expires


def _kill(node: Any, *parts: str) -> None:
    """kill -9, and wait until the kernel has done it."""
    victims = [until(lambda p=part: part_of(node.supervisor, p), part) for part in parts]
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    for part, victim in zip(parts, victims, strict=True):
        until(lambda p=part, v=victim: not _is(node, p, v.pid), f"the end of {part}")


def _is(node: Any, part: str, pid: int) -> bool:
    try:
        return part_of(node.supervisor, part).pid == pid
    except LookupError:
        return False


@contextmanager
def _held_down(node: Any, *parts: str) -> Iterator[None]:
    """The parts dead, and nobody to start them again until the context ends."""
    os.kill(node.supervisor, signal.SIGSTOP)
    try:
        _kill(node, *parts)
        yield
    finally:
        os.kill(node.supervisor, signal.SIGCONT)
