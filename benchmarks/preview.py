"""Requests through a preview address, beside the same server asked straight.

One program, compiled in the sandbox, serves in it and, as a copy, outside; `wrk` asks both.
"""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.node import Node
from benchmarks.results import Result
from wardian import Sandbox

SOURCE = Path(__file__).with_name("static_server.c")
PORT = 8000
SECONDS = 5
ROUNDS = 3
CONNECTIONS = 64
_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def measure(node: Node) -> Iterator[Result]:
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox.create("base"))
        sandbox.files.write("/tmp/server.c", SOURCE.read_text())
        sandbox.run("gcc -O2 -static -o /tmp/server /tmp/server.c", check=True)
        sandbox.spawn(["/tmp/server", str(PORT)]).disconnect()
        program = Path(stack.enter_context(tempfile.TemporaryDirectory()), "server")
        program.write_bytes(sandbox.files.read("/tmp/server", format="bytes"))
        program.chmod(0o755)
        outside = _free_port()
        server = stack.enter_context(subprocess.Popen([program, str(outside)]))
        stack.callback(server.kill)
        exposed = sandbox.expose(PORT, visibility="public")
        straight = (f"http://127.0.0.1:{outside}/", f"127.0.0.1:{outside}")
        preview = (f"{node.running.url}/", urlsplit(exposed.url).netloc)
        for address in (straight, preview):
            _wait_for(address)
        # In turns, so that whatever else the machine does falls on both.
        both = (straight, preview)
        rates = [[_wrk(each, CONNECTIONS)[0] for each in both] for _ in range(ROUNDS)]
        medians = [[_wrk(each, 1)[1] for each in both] for _ in range(ROUNDS)]
    plain, through = (sorted(rate)[ROUNDS // 2] for rate in zip(*rates, strict=True))
    bare, whole = (sorted(each)[ROUNDS // 2] for each in zip(*medians, strict=True))
    yield Result(
        "preview_rps_ratio",
        through / plain,
        "x",
        1.0,
        "the same server asked straight",
        better="higher",
        note=f"{through:.0f} of {plain:.0f} requests/s, {CONNECTIONS} connections, 1 KiB each",
    )
    yield Result(
        "preview_added_ms",
        whole - bare,
        "ms",
        bare,
        "the same server asked straight",
        note="median of one connection, one request at a time",
    )


def _wrk(address: tuple[str, str], connections: int) -> tuple[float, float]:
    """Requests per second, and the median time of one in milliseconds."""
    url, host = address
    threads = min(2, connections)
    command = ["wrk", "--latency", f"-t{threads}", f"-c{connections}", f"-d{SECONDS}s"]
    done = subprocess.run(
        [*command, "-H", f"Host: {host}", url], capture_output=True, text=True, check=True
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)\b", done.stdout)
    if rate is None or median is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk measured nothing that counts:\n{done.stdout}{done.stderr}")
    return float(rate[1]), float(median[1]) * _UNITS[median[2]]


def _wait_for(address: tuple[str, str]) -> None:
    deadline = time.monotonic() + 30
    command = ["curl", "--silent", "--fail", "--noproxy", "*", "--output", "/dev/null"]
    while subprocess.run([*command, "--header", f"Host: {address[1]}", address[0]]).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing answers at {address[1]}")
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
