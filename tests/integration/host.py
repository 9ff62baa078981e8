"""What the host's kernel says about a node's processes, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class HostProcess:
    """A process as the host sees it."""

    pid: int
    parent: int
    arguments: tuple[str, ...]

    @property
    def resident_bytes(self) -> int:
        """Memory it holds now."""
        return _status_number(self.pid, "VmRSS") * 1024

    @property
    def pid_inside(self) -> int:
        """Its number in its own innermost pid namespace."""
        return _status_number(self.pid, "NSpid", last=True)


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
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            words = tuple(os.fsdecode(word) for word in arguments)
            yield HostProcess(int(entry.name), int(parent), words)


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


def agent_of(sandbox: str) -> HostProcess:
    """The agent of a sandbox: PID 1 of its pid namespace, in a cgroup that bears its id.

    Raises:
        LookupError: there is none.
    """
    for process in in_cgroups_named(sandbox):
        if process.pid_inside == 1:
            return process
    raise LookupError(f"no agent of {sandbox} runs")


def in_cgroups_named(part: str) -> Iterator[HostProcess]:
    """Every process whose cgroup path holds ``part``, such as a sandbox's id."""
    for process in processes():
        try:
            if part in Path(f"/proc/{process.pid}/cgroup").read_text():
                yield process
        except OSError:
            continue


def cgroups_named(part: str) -> list[Path]:
    """Every cgroup directory, in any hierarchy, whose own name holds ``part``."""
    found: list[Path] = []
    for directory, names, _ in os.walk("/sys/fs/cgroup"):
        found += [Path(directory, name) for name in names if part in name]
    return found


def _status_number(pid: int, field: str, *, last: bool = False) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[-1 if last else 0])
    raise LookupError(f"process {pid} has no {field}")
