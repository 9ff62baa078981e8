"""`true` on a running sandbox through the SDK; beside fork and exec on the host."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from benchmarks.baselines import fork_exec_ms
from benchmarks.node import Node
from benchmarks.results import Result, median
from wardian import Sandbox

ROUNDS = 300


def measure(node: Node) -> Iterator[Result]:
    samples: list[float] = []
    with Sandbox.create("base") as sandbox:
        for _ in range(ROUNDS + 20):
            begin = perf_counter()
            sandbox.run(["true"])
            samples.append((perf_counter() - begin) * 1000)
    yield Result(
        "exec_true_ms",
        median(samples[20:]),
        "ms",
        fork_exec_ms(),
        "fork+exec on the host",
        goal=3,
        note=f"n={ROUNDS}",
    )
