"""Whatever goes on in one sandbox, the node and the other sandboxes go on."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from wardian import Sandbox, SandboxGone, SandboxNotFound, WardianError

from .conftest import Make
from .host import agent_of, agents, alive, inside, part_of
from .waiting import until

MEGABYTE = 1024 * 1024
MEMORY_BOUND = 200 * MEGABYTE


def test_a_fork_bomb_stays_in_its_sandbox(node: Any, make: Make) -> None:
    bomb, other = make(limits={"pids": 64}), make()
    bomb.spawn("b() { b | b & }; b; while :; do b; done").disconnect()
    until(lambda: (bomb.usage().pids or 0) >= 50, "the bomb at its limit")
    for _ in range(20):
        assert other.run("echo fine").stdout == "fine\n"
        assert (bomb.usage().pids or 0) <= 64
    processes = inside(node, bomb.id)
    assert bomb.kill().reason == "killed"
    assert alive(processes) == []


def test_a_memory_hog_is_killed_and_its_sandbox_says_so(make: Make) -> None:
    hog, other = make("base", limits={"memory_mb": 128}), make()
    with contextlib.suppress(SandboxGone):
        result = hog.run(["python3", "-c", "b = bytearray(1 << 30); print(len(b))"])
        assert result.exit_code != 0 and result.stdout == ""
    assert other.run("echo fine").stdout == "fine\n"
    info = hog.info()
    if info.state == "running":
        assert (hog.usage().oom_kills or 0) >= 1
        assert hog.run("echo on").stdout == "on\n"
    else:
        assert info.reason == "out of memory"


def test_memory_in_a_tmpfs_counts_as_the_sandboxs_own(make: Make) -> None:
    hog, other = make(limits={"memory_mb": 64}), make()
    with contextlib.suppress(WardianError):
        hog.run("head -c 1073741824 /dev/zero > /dev/shm/big", timeout=60)
    assert other.run("echo fine").stdout == "fine\n"
    assert (hog.usage().memory_bytes or 0) <= 64 * MEGABYTE


def test_a_sandbox_that_spins_does_not_starve_the_others(make: Make) -> None:
    spinner, other = make(limits={"cpu": 1}), make()
    for _ in range(8):
        spinner.spawn("while :; do :; done").disconnect()
    for number in range(20):
        assert other.run(f"echo {number}").stdout == f"{number}\n"
    assert spinner.run("echo also me").stdout == "also me\n"


def test_a_gigabyte_of_output_to_a_reader_that_stops_is_held_in_bounds(
    node: Any, make: Make
) -> None:
    sandbox = make()
    process = sandbox.spawn("head -c 1073741824 /dev/zero; echo done > /tmp/done")
    next(iter(process))
    agent, edge = agent_of(node, sandbox.id), part_of(node.supervisor, "edge")
    for _ in range(20):
        time.sleep(0.1)
        assert agent.resident_bytes < MEMORY_BOUND
        assert edge.resident_bytes < MEMORY_BOUND
    assert sandbox.run("echo others go on").stdout == "others go on\n"
    process.disconnect()
    until(lambda: sandbox.files.exists("/tmp/done"), "the command ends without its reader")
    assert agent.resident_bytes < MEMORY_BOUND


def test_a_quarter_gigabyte_of_output_that_is_read_arrives(node: Any, make: Make) -> None:
    sandbox = make()
    agent, edge = agent_of(node, sandbox.id), part_of(node.supervisor, "edge")
    process = sandbox.spawn("head -c 268435456 /dev/zero", output_limit=1000)
    received = sum(len(chunk.data) for chunk in process)
    assert received == 1 << 28
    assert process.result is not None and process.result.truncated
    assert agent.resident_bytes < MEMORY_BOUND and edge.resident_bytes < MEMORY_BOUND


def test_one_reader_that_stops_does_not_stall_another(make: Make) -> None:
    sandbox = make()
    process = sandbox.spawn("until [ -e /go ]; do sleep 0.02; done; head -c 67108864 /dev/zero")
    stalled = sandbox.attach(process.pid)
    sandbox.files.write("/go", "")
    assert len(process.wait().stdout_bytes) == 64 * MEGABYTE
    stalled.disconnect()


def test_kill_cuts_running_streams_at_once(make: Make) -> None:
    sandbox = make()
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(sandbox.run, ["sleep", "1000"]) for _ in range(4)]
        until(lambda: len(sandbox.processes()) == 4, "four running commands")
        sandbox.kill()
        for run in runs:
            with pytest.raises(SandboxGone):
                run.result(30)


def test_kill_during_create_leaves_nothing(node: Any, unique: str) -> None:
    """The name is there before the sandbox is: kill it by that as early as can be."""

    def create(name: str) -> str | None:
        try:
            return Sandbox.create("minimal", name=name).id
        except WardianError:
            return None

    def kill(name: str) -> None:
        def gone() -> bool:
            try:
                return Sandbox.get(name).kill().state == "ended"
            except SandboxNotFound:
                return False

        until(gone, "somebody to kill")

    names = [f"{unique}-{number}" for number in range(8)]
    with ThreadPoolExecutor(16) as pool:
        made = [pool.submit(create, name) for name in names]
        for future in [pool.submit(kill, name) for name in names]:
            future.result()
        ids = [future.result() for future in made]
    for sandbox_id in filter(None, ids):
        until(lambda s=sandbox_id: Sandbox.get(s).info().state == "ended", "its end")
    for name in names:
        assert list(Sandbox.list(name=name)) == []
    known = {agent_of(node, sandbox.id).pid for sandbox in Sandbox.list()}
    assert agents(node) == known, "no agent that nobody knows of"


def test_a_hundred_open_streams_to_one_sandbox(minimal: Sandbox, http: httpx.Client) -> None:
    processes = [minimal.spawn(["cat"]) for _ in range(100)]
    for process in processes:
        process.stdin.write(f"{process.pid}\n")
        process.stdin.close()
    for process in processes:
        assert process.wait().stdout == f"{process.pid}\n"


def test_garbage_on_the_public_port_harms_nobody(node: Any, minimal: Sandbox) -> None:
    import socket

    address = (httpx.URL(node.url).host, httpx.URL(node.url).port or 80)
    for garbage in (b"\x00" * 1000, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000, b"\x16\x03\x01"):
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(garbage)
    with socket.create_connection(address, timeout=30) as slow:
        slow.sendall(b"GET / HT")
        assert minimal.run("echo fine").stdout == "fine\n"
