"""From a write inside to its event at the client; beside a local inotify watch."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.node import Node
from benchmarks.results import Result, median, percentile
from wardian import Sandbox

ROUNDS = 300
# A file's name says when it was made, in nanoseconds of a clock that a sandbox shares with us.
WRITER = f"""
import sys, time
for _ in range({ROUNDS}):
    time.sleep(0.01)
    open(f"{{sys.argv[1]}}/{{time.time_ns()}}", "w").close()
"""
_IN_CREATE = 0x100
_HEADER = struct.Struct("iIII")


def measure(node: Node) -> Iterator[Result]:
    local = _local()
    told: list[float] = []
    with Sandbox.create("base") as sandbox:
        sandbox.files.mkdir("/tmp/w")
        with sandbox.files.watch("/tmp/w") as watch:
            sandbox.spawn(["python3", "-c", WRITER, "/tmp/w"]).disconnect()
            for change in watch:
                if change.type == "create":
                    told.append(_since(change.path.rpartition("/")[2]))
                if len(told) == ROUNDS:
                    break
    note = f"n={ROUNDS}, create of a file to its event in the SDK"
    name = "inotify in this process"
    yield Result("watch_ms", median(told), "ms", median(local), name, note=note)
    yield Result("watch_p99_ms", percentile(told, 99), "ms", percentile(local, 99), name, note=note)


def _since(name: str) -> float:
    return (time.time_ns() - int(name)) / 1e6


def _local() -> list[float]:
    libc = ctypes.CDLL(None, use_errno=True)
    told: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        descriptor = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(descriptor, os.fsencode(folder), _IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        writer = subprocess.Popen([sys.executable, "-c", WRITER, folder])
        try:
            while len(told) < ROUNDS:
                select.select([descriptor], [], [], 10)
                events = os.read(descriptor, 65536)
                while events:
                    length = _HEADER.unpack_from(events)[3]
                    name = events[_HEADER.size : _HEADER.size + length].rstrip(b"\0")
                    told.append(_since(name.decode()))
                    events = events[_HEADER.size + length :]
        finally:
            writer.wait()
            os.close(descriptor)
    return told
