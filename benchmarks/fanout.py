"""10 MB/s of a process's output to 20 clients at once, one of which never reads."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from urllib.parse import urlsplit

from benchmarks.node import Node
from benchmarks.results import Result
from wardian import BackgroundProcess, Sandbox

CLIENTS = 19
RATE_MB_S = 10
SECONDS = 10
SIZE = RATE_MB_S * SECONDS * 1_000_000
# Waits for the file `go`, writes at a steady rate, then says the checksum on standard error.
WRITER = f"""
import os, sys, time, zlib
while not os.path.exists("go"):
    time.sleep(0.01)
block, crc, begin = os.urandom(100_000), 0, time.monotonic()
for number in range({SIZE} // len(block)):
    time.sleep(max(0, begin + number * len(block) / {RATE_MB_S * 1e6} - time.monotonic()))
    piece = number.to_bytes(4, "big") + block[4:]
    crc = zlib.crc32(piece, crc)
    view = memoryview(piece)
    while view:
        view = view[os.write(1, view):]
print(crc, file=sys.stderr)
"""


def measure(node: Node) -> Iterator[Result]:
    with Sandbox.create("base") as sandbox:
        command = ["python3", "-c", WRITER]
        process = sandbox.start(command, cwd="/tmp")
        stalled = _follow(node, sandbox, process)
        followers = [_follow(node, sandbox, process) for _ in range(CLIENTS)]
        speed, sums = _race(
            [follower.readinto for follower in followers],
            lambda: sandbox.files.write("/tmp/go", ""),
        )
        crc = int(process.log(stream="stderr").text)
        stalled.close()
        peaks = ", ".join(f"{n} {peak / 1e6:.0f} MB at most" for n, peak in node.peaks(sandbox.id))
    if sums != [(SIZE, crc)] * CLIENTS:
        whole = sums.count((SIZE, crc))
        raise RuntimeError(f"{whole} of {CLIENTS} followers received all of the output")
    yield Result(
        "fanout_mb_s",
        speed,
        "MB/s",
        _tails(),
        f"{CLIENTS} x tail -f of a file on the host",
        better="higher",
        note=f"{CLIENTS} x {RATE_MB_S} MB/s is all there is; one more stalled; {peaks}",
    )


def _follow(node: Node, sandbox: Sandbox, process: BackgroundProcess) -> http.client.HTTPResponse:
    access = sandbox.info().agent
    if access is None:
        raise RuntimeError("the sandbox has no agent")
    headers = {
        "Wardian-Sandbox-Id": sandbox.id,
        "Wardian-Sandbox-Port": str(access.port),
        "X-Access-Token": access.token,
        "Accept": "text/plain",
    }
    connection = http.client.HTTPConnection(urlsplit(node.running.url).netloc)
    path = f"/v1/processes/{process.name}/log?follow=1&stream=stdout"
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def _race(
    readers: list[Callable[[bytearray], int]], begin: Callable[[], object]
) -> tuple[float, list[tuple[int, int]]]:
    """MB/s that the readers receive together, and bytes and checksum that each received."""
    sums = [(0, 0)] * len(readers)

    def read(number: int) -> None:
        buffer, size, crc = bytearray(256 * 1024), 0, 0
        while size < SIZE and (count := readers[number](buffer)):
            crc = zlib.crc32(memoryview(buffer)[:count], crc)
            size += count
        sums[number] = (size, crc)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(len(readers))]
    for thread in threads:
        thread.start()
    start = perf_counter()
    begin()
    for thread in threads:
        thread.join()
    took = perf_counter() - start
    return sum(size for size, _ in sums) / 1e6 / took, sums


def _from_pipe(child: subprocess.Popen[bytes]) -> Callable[[bytearray], int]:
    if child.stdout is None:
        raise RuntimeError("the child has no pipe")
    descriptor = child.stdout.fileno()
    return lambda buffer: os.readv(descriptor, [buffer])


def _tails() -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "output")
        with path.open("wb") as output:
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITER], cwd=folder, stdout=output, stderr=subprocess.DEVNULL
            )
        tails = [
            subprocess.Popen(["tail", "-c", "+1", "-f", str(path)], stdout=subprocess.PIPE)
            for _ in range(CLIENTS)
        ]
        readers = [_from_pipe(tail) for tail in tails]
        try:
            speed, _ = _race(readers, Path(folder, "go").touch)
        finally:
            for child in (writer, *tails):
                child.kill()
                child.wait()
                if child.stdout:
                    child.stdout.close()
    return speed
