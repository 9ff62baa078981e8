"""What the host's kernel says about a node's processes, from /proc."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A process as the host sees it."""

    pid: int
    #: Changes when the parent dies, the process does not.
    parent: int = field(compare=False)
    arguments: tuple[str, ...]

    #: Ticks since boot: tells it from a later process of the same number.
    started: int = 0

    @property
    def resident_bytes(self) -> int:
        """Memory it holds now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise LookupError(f"process {self.pid} holds no memory")


def peak_bytes(pid: int) -> int:
    """The most memory a process was resident with, since :func:`begin_peak` or its start."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmHWM" in line)


def begin_peak(pid: int) -> int:
    """Lets a process's peak begin anew, at what it holds now (proc(5), clear_refs); returns it."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)


def processes() -> Iterator[HostProcess]:
    """Every process of this machine that still runs; zombies are not among them."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            stat = (entry / "stat").read_text()
            arguments = (entry / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        if fields[0] != "Z":
            words = tuple(os.fsdecode(word) for word in arguments)
            yield HostProcess(int(entry.name), int(fields[1]), words, int(fields[19]))


def part_of(supervisor: int, part: str) -> HostProcess:
    """One of the three processes under a node's supervisor.

    Args:
        supervisor: the supervisor's pid.
        part: ``launcher``, ``edge`` or ``control``.

    Raises:
        LookupError: it does not run now.
    """
    sign = {"launcher": "wardian-launcher", "edge": "wardian-edge", "control": "wardian.server"}
    for process in processes():
        if process.parent == supervisor and any(
            word.endswith(sign[part]) for word in process.arguments
        ):
            return process
    raise LookupError(f"no {part} runs under process {supervisor}")


def agent_of(node: Any, sandbox: str) -> HostProcess:
    """The agent of a running sandbox.

    Raises:
        LookupError: there is none.
    """
    try:
        record = json.loads((node.run / "launcher/sandboxes" / f"{sandbox}.json").read_text())
    except FileNotFoundError:
        raise LookupError(f"the launcher knows no sandbox {sandbox}") from None
    for process in processes():
        if process.pid == record["phase"].get("pid"):
            return process
    raise LookupError(f"no agent of {sandbox} runs")


def inside(node: Any, sandbox: str) -> list[HostProcess]:
    """Every process of a running sandbox: those in its agent's pid namespace."""
    namespace = os.readlink(f"/proc/{agent_of(node, sandbox).pid}/ns/pid")
    return [process for process in processes() if _pid_namespace(process.pid) == namespace]


def alive(those: Iterable[HostProcess]) -> list[HostProcess]:
    """Those that still run."""
    now = {(process.pid, process.started) for process in processes()}
    return [each for each in those if (each.pid, each.started) in now]


def residents(node: Any) -> list[HostProcess]:
    """Every process in the node's cgroups, but for those parked for the next sandbox."""
    mine = f"/wardian-{node.configuration.instance}/"
    return [
        process
        for process in processes()
        if process.arguments[:2] != ("wardian-launcher", "park") and mine in _cgroups(process.pid)
    ]


def agents(node: Any) -> set[int]:
    """The pids of all agents of the node, whether anybody knows of them or not."""
    return {each.pid for each in residents(node) if each.arguments == ("wardian-agent",)}


def _pid_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def _cgroups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
