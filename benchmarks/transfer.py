"""1 GB up and down through the SDK, and what edge and agent needed for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.baselines import loopback_copy_mb_s
from benchmarks.node import Node
from benchmarks.results import Result, median
from wardian import Sandbox

SIZE = 1_000_000_000
ROUNDS = 3


def measure(node: Node) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        _fill(source)
        with Sandbox.create("base", limits={"memory_mb": 4096}) as sandbox:
            up: list[float] = []
            down: list[float] = []
            for _ in range(ROUNDS):
                begin = perf_counter()
                sandbox.files.upload(source, "/home/user/gigabyte")
                up.append(SIZE / 1e6 / (perf_counter() - begin))
                begin = perf_counter()
                sandbox.files.download("/home/user/gigabyte", target)
                down.append(SIZE / 1e6 / (perf_counter() - begin))
            if target.stat().st_size != SIZE:
                raise RuntimeError(f"{target.stat().st_size} of {SIZE} bytes came back")
            peaks = ", ".join(
                f"{name} {peak / 1e6:.0f} MB at most" for name, peak in node.peaks(sandbox.id)
            )
            target.unlink()
            plain = loopback_copy_mb_s(source, target)
    loopback = "one loopback TCP connection into a file"
    yield Result(
        "upload_mb_s", median(up), "MB/s", plain, loopback, goal=500, better="higher", note=peaks
    )
    yield Result("download_mb_s", median(down), "MB/s", plain, loopback, goal=500, better="higher")


def _fill(path: Path) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        left = SIZE
        while left:
            left -= file.write(block[: min(left, len(block))])
