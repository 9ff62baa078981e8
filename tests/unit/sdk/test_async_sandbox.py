"""The asyncio SDK against a real socket: what its blocking twin can't show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import wardian
from wardian import AsyncSandbox

from .double import Double, World


async def test_many_at_once(double: Double) -> None:
    async def one(number: int) -> str:
        async with await AsyncSandbox.create(labels={"n": str(number)}) as sandbox:
            return (await sandbox.run(["echo", str(number)])).stdout

    outputs = await asyncio.gather(*(one(number) for number in range(50)))
    assert outputs == [f"{number}\n" for number in range(50)]
    assert {s["state"] for s in double.world.sandboxes.values()} == {"ended"}


async def test_commands_files_and_callbacks(double: Double, tmp_path: Path) -> None:
    sandbox = await AsyncSandbox.create()
    seen: list[str] = []

    async def later(text: str) -> None:
        await asyncio.sleep(0)
        seen.append(text)

    await sandbox.run("echo x", on_stdout=later)
    assert seen == ["x\n"]

    async def source() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b" * 100_000

    await sandbox.files.write("f", source())
    stream = await sandbox.files.read("f", "stream")
    assert b"".join([piece async for piece in stream]) == b"a" + b"b" * 100_000
    (tmp_path / "up").write_bytes(b"z" * 9_000_000)
    await sandbox.files.upload(tmp_path / "up", "up")
    await sandbox.files.download("up", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"z" * 9_000_000
    data = b"x" * 500_000
    assert (await sandbox.run(["cat"], stdin=data)).stdout_bytes == data
    assert [s.id async for s in AsyncSandbox.list()] == [sandbox.id]


async def test_errors_come_as_themselves_not_in_groups(double: Double) -> None:
    sandbox = await AsyncSandbox.create()
    with pytest.raises(wardian.CommandTimeout):
        await sandbox.run("sleep 60", stdin="x", timeout=0.2)
    with pytest.raises(wardian.CommandFailed):
        await sandbox.run("exit 2", stdin=b"x" * 10, check=True)


async def test_a_cancelled_call_does_not_spoil_the_next(world: World) -> None:
    sandbox = await AsyncSandbox.create()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await sandbox.run("echo early; sleep 5; echo late")
    assert (await sandbox.run("echo fresh")).stdout == "fresh\n"


async def test_a_spawned_command_is_read_as_it_comes(double: Double) -> None:
    sandbox = await AsyncSandbox.create()
    process = await sandbox.spawn(["cat"])
    await process.stdin.write("one")
    async for chunk in process:
        assert chunk.text == "one"
        break
    await process.stdin.close()
    assert (await process.wait()).exit_code == 0


def test_connections_of_an_ended_loop_are_not_used_again(double: Double) -> None:
    async def create() -> AsyncSandbox:
        return await AsyncSandbox.create()

    sandbox = asyncio.run(create())
    assert asyncio.run(sandbox.run(["echo", "x"])).stdout == "x\n"
    assert double.world.connections == 2
