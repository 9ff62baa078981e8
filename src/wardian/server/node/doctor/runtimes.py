"""Programs of others that a node can use or is compared with, and which versions are bad."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Final

from wardian.server.node.doctor.findings import Finding, State

_TOPIC: Final = "runtimes"
#: Why it is bad, and what mends it.
Verdict = tuple[str, str]

#: Published June 2023: the first whose default platform is systrap.
_OLDEST_RUNSC: Final = 20230601


def examine() -> list[Finding]:
    """Looks at runsc, runc and criu. None is essential: class ``container`` needs none of them."""
    return [
        _one("runsc", "class gvisor is not possible", _judge_runsc),
        _one("runc", "only benchmarks compare with it", _judge_runc),
        _one("criu", "memory snapshots of class container are not possible", _judge_criu),
    ]


def _one(program: str, without: str, judge: Callable[[str], Verdict | None]) -> Finding:
    if shutil.which(program) is None:
        return Finding(_TOPIC, program, State.OK, f"not installed: {without}")
    text = _version(program)
    first = text.splitlines()[0].strip() if text else "version unknown"
    verdict = judge(text)
    if verdict is None:
        return Finding(_TOPIC, program, State.OK, first)
    return Finding(_TOPIC, program, State.WARNING, first, *verdict)


def _version(program: str) -> str:
    try:
        result = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip()


def judge_numbers(text: str) -> tuple[int, ...]:
    """The first dotted version in ``text``; empty if there is none."""
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in match.groups("0")) if match else ()


def _judge_runsc(text: str) -> Verdict | None:
    match = re.search(r"(\d{8})", text)
    if match is not None and int(match[1]) < _OLDEST_RUNSC:
        return (
            "known bad: older than the systrap platform, slow and without years of fixes",
            "install a current release of gVisor",
        )
    return None


def _judge_runc(text: str) -> Verdict | None:
    version = judge_numbers(text)
    fixed = version >= (1, 3, 3) or (1, 2, 8) <= version < (1, 3)
    if fixed or not version:
        return None
    return (
        "known bad by its number: CVE-2025-31133, -52565 and -52881 are fixed in 1.2.8 and 1.3.3 "
        "(a distribution may have patched it; Wardian runs no sandbox with it)",
        "apt-get update && apt-get install runc",
    )


def _judge_criu(text: str) -> Verdict | None:
    version = judge_numbers(text)
    if version and version < (4, 2):
        return (
            "known bad on new kernels: before 4.2 it fails on processes with sockets",
            "install criu 4.2 or newer",
        )
    return None
