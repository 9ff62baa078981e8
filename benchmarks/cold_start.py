"""Create → first command done, through the API, without a pool; beside runc and podman."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from benchmarks.baselines import podman_run_ms, runc_run_ms
from benchmarks.node import Node
from benchmarks.results import Result, median, percentile
from wardian import Sandbox

ROUNDS = 200


def measure(node: Node) -> Iterator[Result]:
    for _ in range(5):
        _once()
    samples = [_once() for _ in range(ROUNDS)]
    rootfs = node.template_rootfs("base")
    runc = runc_run_ms(rootfs)
    podman = podman_run_ms(rootfs)
    yield Result(
        "cold_start_ms", median(samples), "ms", runc, "runc run", goal=10, note=f"n={ROUNDS}"
    )
    yield Result("cold_start_p99_ms", percentile(samples, 99), "ms", runc, "runc run", goal=40)
    yield Result("runc_start_ms", runc, "ms", podman, "podman run", note="same root filesystem")


def _once() -> float:
    begin = perf_counter()
    sandbox = Sandbox.create("base")
    try:
        result = sandbox.run(["true"])
        took = perf_counter() - begin
        if result.exit_code != 0:
            raise RuntimeError(f"true ended with {result.exit_code}")
    finally:
        sandbox.kill()
    return took * 1000
