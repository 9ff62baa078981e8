"""What an idle sandbox costs the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from benchmarks.machine import memory
from benchmarks.node import Node
from benchmarks.results import Result
from wardian import AsyncSandbox

COUNT = 100
# Long enough that as many processes wait for the next sandboxes as before.
SETTLE_SECONDS = 10


def measure(node: Node) -> Iterator[Result]:
    yield Result(
        "idle_mb",
        asyncio.run(_idle()),
        "MB",
        goal=2,
        note=f"MemAvailable difference over {COUNT} sandboxes",
    )


async def _idle() -> float:
    # One comes and goes first, so that what is made once does not count.
    await (await AsyncSandbox.create("base")).kill()
    await asyncio.sleep(SETTLE_SECONDS)
    before = memory("MemAvailable")
    sandboxes = await asyncio.gather(*(AsyncSandbox.create("base") for _ in range(COUNT)))
    await asyncio.gather(*(sandbox.run(["true"]) for sandbox in sandboxes))
    await asyncio.sleep(SETTLE_SECONDS)
    after = memory("MemAvailable")
    await asyncio.gather(*(sandbox.kill() for sandbox in sandboxes))
    return (before - after) / COUNT / 1e6
