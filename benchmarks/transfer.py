"""1 GB up and down through the SDK, and what edge and agent needed for it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

from benchmarks.baselines import loopback_copy_mb_s
from benchmarks.node import Node
from benchmarks.results import Result, median
from wardian import Sandbox

SIZE = 1_000_000_000
ROUNDS = 3
REMOTE = "/home/user/gigabyte"


def measure(node: Node) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source"), Path(folder, "target")
        _fill(source)
        up: list[float] = []
        down: list[float] = []
        with Sandbox.create("base", limits={"memory_mb": 4096}) as sandbox:
            for _ in range(ROUNDS):
                up.append(_timed(lambda: sandbox.files.upload(source, REMOTE)))
                down.append(_timed(lambda: sandbox.files.download(REMOTE, target)))
                if target.stat().st_size != SIZE:
                    raise RuntimeError(f"{target.stat().st_size} of {SIZE} bytes came back")
                target.unlink()
                sandbox.files.remove(REMOTE)
            peaks = ", ".join(
                f"{name} {peak / 1e6:.0f} MB at most" for name, peak in node.peaks(sandbox.id)
            )
        into_pool = _plain(source, node.running.pool / "benchmark")
        into_folder = _plain(source, target)
    yield Result(
        "upload_mb_s",
        median(up),
        "MB/s",
        into_pool,
        "loopback TCP into a file on the same pool",
        goal=500,
        better="higher",
        note=peaks,
    )
    yield Result(
        "download_mb_s",
        median(down),
        "MB/s",
        into_folder,
        "loopback TCP into a file",
        goal=500,
        better="higher",
    )


def _timed(work: Callable[[], object]) -> float:
    """MB/s of `work`, which moves SIZE bytes while nothing is left to be written to disk."""
    os.sync()
    begin = perf_counter()
    work()
    return SIZE / 1e6 / (perf_counter() - begin)


def _plain(source: Path, target: Path) -> float:
    def once() -> float:
        os.sync()
        speed = loopback_copy_mb_s(source, target)
        target.unlink()
        return speed

    return median([once() for _ in range(ROUNDS)])


def _fill(path: Path) -> None:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        left = SIZE
        while left:
            left -= file.write(block[: min(left, len(block))])
