"""A keystroke's echo in a terminal, through edge and agent; beside a terminal on the host."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable, Iterator
from time import perf_counter

from benchmarks.node import Node
from benchmarks.results import Result, median, percentile
from wardian import Sandbox

# All on one line, which has at most 4095 bytes.
ROUNDS = 1000
WARM_UP = 50
# The kernel echoes each key; the program only has the terminal open.
PROGRAM = ["cat"]


def measure(node: Node) -> Iterator[Result]:
    local = _local()
    with (
        Sandbox.create("base") as sandbox,
        sandbox.terminal(argv=PROGRAM) as terminal,
    ):
        remote = _echoes(terminal.send, terminal.receive)
    for name, of in (("echo_ms", median), ("echo_p99_ms", _p99)):
        yield Result(
            name, of(remote), "ms", of(local), "terminal on the host", note=f"n={ROUNDS}, WebSocket"
        )


def _p99(samples: list[float]) -> float:
    return percentile(samples, 99)


def _local() -> list[float]:
    pid, master = pty.fork()
    if pid == 0:
        os.execvp(PROGRAM[0], PROGRAM)
    try:
        return _echoes(lambda key: os.write(master, key), lambda: os.read(master, 1024))
    finally:
        os.close(master)
        os.waitpid(pid, 0)


def _echoes(send: Callable[[bytes], object], receive: Callable[[], bytes]) -> list[float]:
    """Milliseconds from each key to its echo."""
    samples: list[float] = []
    for _ in range(WARM_UP + ROUNDS):
        begin = perf_counter()
        send(b"x")
        receive()
        samples.append((perf_counter() - begin) * 1000)
    return samples[WARM_UP:]
