"""mitmproxy as people would put it before a sandbox: TLS on both sides, an addon sets a header."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cache
from benchmarks.machine import process_memory
from benchmarks.upstream import Upstream, free_port, wait_for

_ADDON = """
def request(flow):
    flow.request.headers["authorization"] = "Bearer of-the-benchmark"
"""


@dataclass(frozen=True, slots=True)
class Mitmproxy:
    """A proxy that runs."""

    port: int
    pid: int

    def peak_bytes(self) -> int:
        """The most memory it was ever resident with."""
        return process_memory(self.pid)


@contextmanager
def running(upstream: Upstream) -> Generator[Mitmproxy]:
    """Starts it before the upstream. What it needs to be quick is set: no log, bodies streamed."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        addon = Path(directory, "addon.py")
        addon.write_text(_ADDON)
        settings = {
            "confdir": directory,
            "ssl_verify_upstream_trusted_ca": upstream.authority,
            "keep_host_header": "true",
            "connection_strategy": "lazy",
            "stream_large_bodies": "1m",
            "flow_detail": "0",
            "termlog_verbosity": "error",
        }
        command = [str(cache.mitmdump()), "--quiet", "--scripts", str(addon)]
        command += ["--mode", f"reverse:https://127.0.0.1:{upstream.port}@{port}"]
        command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        with subprocess.Popen(command) as process:
            try:
                wait_for(port)
                yield Mitmproxy(port, process.pid)
            finally:
                process.terminate()
