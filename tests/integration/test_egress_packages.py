"""Real package managers inside, real registries outside: those that this machine itself uses."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SKIPPED = re.compile(r"skipped  (.+): not reachable from this node: (.+)")


@pytest.mark.timeout(300)
def test_the_example_fetches_whatever_this_machine_can(node: Any) -> None:
    done = subprocess.run(
        [sys.executable, "examples/egress_packages.py"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    outcomes = dict(line.split(":")[0].split("  ", 1)[::-1] for line in lines if "  " in line)
    wanted = {"a Python package", "a Node.js package", "a git repository"}
    assert outcomes.keys() == wanted and {*outcomes.values()} <= {"fetched", "skipped"}
    for line in lines:
        if skipped := _SKIPPED.fullmatch(line):
            for host in re.findall(r"(\S+) \(", skipped[2]):
                # What a sandbox could not reach, its node must not reach either.
                with pytest.raises(OSError):
                    socket.create_connection((host, 443), timeout=10).close()
    assert lines[-1] == "example.com, which no rule names: refused"
