"""The same work done by others, or by nobody: what a number is compared with."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from benchmarks.results import median

CHUNK = 1 << 20

# podman asks for limits above our own, which takes CAP_SYS_RESOURCE; this machine may lack it.
RUNC_WITHOUT_LIMITS = """#!/bin/sh
previous=
for word; do
    [ "$previous" != --bundle ] || sed -i 's/,"rlimits":\\[[^]]*\\]//' "$word/config.json"
    previous=$word
done
exec runc "$@"
"""


def runc_run_ms(rootfs: Path, rounds: int = 20) -> float:
    """Median of `runc run` of /bin/true on `rootfs`, teardown included."""
    with tempfile.TemporaryDirectory() as bundle:
        subprocess.run(["runc", "spec"], cwd=bundle, check=True)
        path = Path(bundle, "config.json")
        spec = json.loads(path.read_text())
        spec["process"]["args"] = ["/bin/true"]
        spec["process"]["terminal"] = False
        # This machine may lack CAP_SYS_RESOURCE; runc can't raise a limit without it.
        spec["process"].pop("rlimits", None)
        spec["root"] = {"path": str(rootfs), "readonly": True}
        path.write_text(json.dumps(spec))
        return _median_ms(
            rounds,
            lambda n: ["runc", "run", "--bundle", bundle, f"wardian-bench-{os.getpid()}-{n}"],
        )


def podman_run_ms(rootfs: Path, rounds: int = 10) -> float:
    """Median of `podman run` of /bin/true on `rootfs` with an overlay of its own and no network."""
    with tempfile.TemporaryDirectory() as state:
        runtime = Path(state, "runc")
        runtime.write_text(RUNC_WITHOUT_LIMITS)
        runtime.chmod(0o755)
        command = [
            "podman",
            f"--root={state}/root",
            f"--runroot={state}/run",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
            f"--runtime={runtime}",
            "run",
            "--rm",
            "--network=none",
            "--rootfs",
            f"{rootfs}:O",
            "/bin/true",
        ]
        try:
            return _median_ms(rounds, lambda _: command)
        finally:
            subprocess.run(["umount", f"{state}/root/overlay"], capture_output=True)


def _median_ms(rounds: int, command: Callable[[int], list[str]]) -> float:
    samples: list[float] = []
    for number in range(rounds + 1):
        begin = perf_counter()
        subprocess.run(command(number), check=True, stdout=subprocess.DEVNULL)
        samples.append((perf_counter() - begin) * 1000)
    return median(samples[1:])


def fork_exec_ms(rounds: int = 200) -> float:
    """Median of fork, exec and wait of /bin/true on the host."""
    samples: list[float] = []
    for _ in range(rounds):
        begin = perf_counter()
        pid = os.posix_spawn("/bin/true", ["true"], os.environ)
        os.waitpid(pid, 0)
        samples.append((perf_counter() - begin) * 1000)
    return median(samples)


def loopback_copy_mb_s(source: Path, target: Path) -> float:
    """`source` through one loopback TCP connection into `target`, by plain reads and writes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = threading.Thread(target=_send, args=(source, server.getsockname()))
        begin = perf_counter()
        sender.start()
        connection, _ = server.accept()
        with connection, target.open("wb") as file:
            buffer = memoryview(bytearray(CHUNK))
            while count := connection.recv_into(buffer):
                file.write(buffer[:count])
        took = perf_counter() - begin
        sender.join()
    return source.stat().st_size / 1e6 / took


def _send(source: Path, address: tuple[str, int]) -> None:
    with socket.create_connection(address) as connection, source.open("rb") as file:
        while chunk := file.read(CHUNK):
            connection.sendall(chunk)
