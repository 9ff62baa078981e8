"""100 creates at once, each to its first command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from time import perf_counter

from benchmarks.baselines import runc_run_ms
from benchmarks.node import Node
from benchmarks.results import Result, percentile
from wardian import AsyncSandbox

AT_ONCE = 100
#: What is made ahead is made again after the work before, as on a node that waits for work.
SETTLE_SECONDS = 5


def measure(node: Node) -> Iterator[Result]:
    time.sleep(SETTLE_SECONDS)
    samples, failures = asyncio.run(_burst())
    runc = runc_run_ms(node.template_rootfs("base"), rounds=5)
    yield Result(
        "burst100_p95_ms",
        percentile(samples, 95),
        "ms",
        runc * AT_ONCE,
        "100 runc run, one after another",
        goal=600,
    )
    yield Result(
        "burst100_success",
        len(samples),
        "sandboxes",
        goal=AT_ONCE,
        better="higher",
        note="; ".join(sorted(set(failures))[:3]),
    )


async def _burst() -> tuple[list[float], list[str]]:
    begin = perf_counter()
    outcomes = await asyncio.gather(*(_one(begin) for _ in range(AT_ONCE)), return_exceptions=True)
    samples = [outcome[0] for outcome in outcomes if not isinstance(outcome, BaseException)]
    failures = [repr(outcome) for outcome in outcomes if isinstance(outcome, BaseException)]
    sandboxes = [outcome[1] for outcome in outcomes if not isinstance(outcome, BaseException)]
    await asyncio.gather(*(sandbox.kill() for sandbox in sandboxes))
    return samples, failures


async def _one(begin: float) -> tuple[float, AsyncSandbox]:
    sandbox = await AsyncSandbox.create("base")
    result = await sandbox.run(["true"])
    took = (perf_counter() - begin) * 1000
    if result.exit_code != 0:
        raise RuntimeError(f"true ended with {result.exit_code}")
    return took, sandbox
