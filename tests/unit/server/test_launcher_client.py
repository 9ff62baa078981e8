"""The launcher's client over a real socket: restarts, hang-ups, refusals, descriptors."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from node_peers.launcher import USED, FakeLauncher
from node_peers.node import eventually

from wardian.server.errors import NoSpace
from wardian.server.node import protocol
from wardian.server.node.launcher import (
    LauncherClient,
    LauncherFailure,
    LauncherLost,
    LauncherUnreachable,
    Watching,
    WatchLost,
)
from wardian.server.node.protocol import Failure

SANDBOX = "a" * 20


def wanted(sandbox: str = SANDBOX) -> protocol.Create:
    return protocol.Create(
        sandbox,
        ["a" * 64],
        protocol.Limits(1, 1, 1, 1),
        protocol.Boot(sandbox, None, "h", "root", None, {}, "", 1, 1, 1),
    )


@pytest_asyncio.fixture
async def launcher(tmp_path: Path) -> AsyncIterator[FakeLauncher]:
    fake = FakeLauncher(tmp_path / "launcher.sock")
    fake.layers["a" * 64] = b""
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def client(launcher: FakeLauncher) -> LauncherClient:
    return LauncherClient(launcher.path, connections=4)


async def test_calls_return_what_the_launcher_says(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    assert await client.create(wanted()) == 4711
    assert [status.sandbox for status in await client.list()] == [SANDBOX]
    assert await client.usage(SANDBOX) == USED
    await client.freeze(SANDBOX)
    await client.thaw(SANDBOX)
    assert (await client.kill(SANDBOX)).usage == USED
    assert not (await client.kill(SANDBOX)).existed
    assert (await client.hello()).storage == "btrfs"
    assert await client.list_layers() == ["a" * 64]
    await client.remove_layer("a" * 64)
    client.close()


async def test_refusals_are_typed(launcher: FakeLauncher, client: LauncherClient) -> None:
    launcher.fail("create", Failure("no_space", "pool full"))
    with pytest.raises(NoSpace, match="pool full"):
        await client.create(wanted())
    await client.create(wanted())
    with pytest.raises(LauncherFailure) as refused:
        await client.create(wanted())
    assert refused.value.failure == "already_exists"
    client.close()


async def test_what_may_be_repeated_is_and_a_create_is_not(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    launcher.fail("kill", "hang up")
    assert not (await client.kill(SANDBOX)).existed
    launcher.fail("create", "hang up")
    with pytest.raises(LauncherLost):
        await client.create(wanted())
    assert len(launcher.asked(protocol.Create)) == 1
    client.close()


async def test_a_restart_between_calls_is_not_noticed(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    await client.create(wanted())
    await launcher.stop()
    async with asyncio.TaskGroup() as group:
        listing = group.create_task(client.list())
        await asyncio.sleep(0.1)
        await launcher.start()
    assert [status.sandbox for status in listing.result()] == [SANDBOX]
    client.close()


async def test_nobody_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    client = LauncherClient(tmp_path / "launcher.sock", patience=0.1)
    with pytest.raises(LauncherUnreachable):
        await client.create(wanted())


async def test_more_calls_than_connections_wait_their_turn(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    launcher.create_gate = asyncio.Event()
    letters = "abcdefghijklmnop"
    async with asyncio.TaskGroup() as group:
        for letter in letters:
            group.create_task(client.create(wanted(letter * 20)))
        await eventually(lambda: len(launcher.asked(protocol.Create)) == 4)
        launcher.create_gate.set()
    assert len(launcher.sandboxes) == len(letters)
    client.close()


async def test_a_call_given_up_does_not_answer_the_next(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    launcher.create_gate = asyncio.Event()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.create(wanted())
    launcher.create_gate.set()
    assert (await client.hello()).storage == "btrfs"
    client.close()


async def test_a_layer_travels_as_a_descriptor(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"tar" * 100_000)
        file.seek(0)
        answer = await client.import_layer("b" * 64, file.fileno())
        assert (answer.bytes, answer.existed) == (300_000, False)
        assert launcher.layers["b" * 64] == b"tar" * 100_000
        assert (await client.import_layer("b" * 64, file.fileno())).existed
        launcher.fail("import_layer", Failure("bad_layer", "no tar"), "hang up")
        with pytest.raises(LauncherFailure, match="no tar"):
            await client.import_layer("c" * 64, file.fileno())
        with pytest.raises(LauncherLost):
            await client.import_layer("c" * 64, file.fileno())


async def test_giving_up_an_import_frees_its_descriptors(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    reading, writing = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await client.import_layer("d" * 64, reading)
    os.close(writing)
    await eventually(lambda: len(os.listdir("/proc/self/fd")) < before)
    os.close(reading)


async def test_watching_goes_on_over_restarts(
    launcher: FakeLauncher, client: LauncherClient
) -> None:
    events = client.watch()
    assert await anext(events) == Watching()
    launcher.end(SANDBOX, "out_of_memory")
    assert await anext(events) == protocol.EndedEvent(SANDBOX, "out_of_memory", USED)
    await launcher.restart()
    assert await anext(events) == WatchLost()
    while await anext(events) != Watching():
        pass
    await events.aclose()
